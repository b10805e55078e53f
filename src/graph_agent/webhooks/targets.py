"""Reads the file of webhooks: where messages go, and with which secrets they are signed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from graph_agent.operator_files import OperatorFile
from graph_agent.redaction import HIDDEN_VALUES
from graph_agent.trusted_hosts import is_loopback
from graph_agent.webhooks.signatures import BadSecret, key_of

VARIABLE = "GRAPH_AGENT_WEBHOOKS"

FILE = "webhooks.toml"
"""The file beside the list of graphs."""

EVENTS = ("response.completed", "response.failed", "response.incomplete", "response.cancelled")
"""What is told. The names are those of OpenAI's webhooks."""

KEYS = ("url", "secret_variables", "events")

MOST_SECRETS = 2
"""The one in use, and another one while it is replaced."""

LONGEST_URL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One receiver of webhooks."""

    name: str
    url: str = field(repr=False)
    """It may hold a secret of the receiver, so no log and no error repeats it."""

    keys: tuple[bytes, ...] = field(repr=False)
    """The secrets. Each message is signed with every one."""

    events: frozenset[str] = frozenset(EVENTS)
    """What it is told."""

    on_loopback: bool = False
    """Whether it is on this machine, so that no proxy can reach it."""


def read_targets(path: Path | None, environ: Mapping[str, str]) -> Mapping[str, Target]:
    """The targets in a file by name. There are none without a file.

    The secrets are in `environ`, and are redacted from now on.

    Raises:
        BadFile: the file is wrong. It names every problem.
    """
    if path is None:
        return {}
    file, targets = OperatorFile(path, variable=VARIABLE), {}
    for name, entry in file.entries("webhooks"):
        where = f"webhooks.{name}"
        file.only(where, entry, KEYS)
        url = file.text(where, entry, "url")
        wrong, on_loopback = _problem_of(url) if url else ("", False)
        if wrong:
            file.problem(f"`{where}.url` {wrong}")
        variables = file.texts(where, entry, "secret_variables", most=MOST_SECRETS)
        keys = [_key(file, f"{where}.secret_variables", variable, environ) for variable in variables]
        events = file.texts(where, entry, "events", most=len(EVENTS)) if "events" in entry else EVENTS
        if not set(events) <= set(EVENTS):
            file.problem(f"`{where}.events` must be some of {', '.join(EVENTS)}")
        targets[name] = Target(
            name=name,
            url=url,
            keys=tuple(key for key in keys if key is not None),
            events=frozenset(events),
            on_loopback=on_loopback,
        )
    file.check()
    return targets


def target_names(path: Path | None) -> list[str]:
    """The names of the targets in a file, whatever else is in it.

    Raises:
        BadFile: it cannot be read.
    """
    return [] if path is None else [name for name, _ in OperatorFile(path, variable=VARIABLE).entries("webhooks")]


def _problem_of(url: str) -> tuple[str, bool]:
    """What is wrong with a URL, and whether it is on this machine."""
    expected = "must be an https URL, or an http URL of this machine, such as https://example.com/hooks"
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return expected, False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return expected, False
    if not host or parts.scheme not in ("http", "https"):
        return expected, False
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must have no user name, password or fragment: the receiver knows the sender by the signature", False
    if parts.scheme == "http" and not is_loopback(host):
        return "must be https: http is for this machine only", False
    return "", is_loopback(host)


def _key(file: OperatorFile, where: str, variable: str, environ: Mapping[str, str]) -> bytes | None:
    # A name that is no variable may be the secret itself, so it is not repeated.
    if not variable.isidentifier() or not variable.isascii() or variable.lower().startswith("whsec_"):
        file.problem(f"`{where}` must be names of environment variables, and not the secrets themselves")
        return None
    secret = environ.get(variable, "")
    if not secret:
        file.problem(f"`{where}`: the environment variable {variable} is not set")
        return None
    HIDDEN_VALUES.add([secret, secret.removeprefix("whsec_")])
    try:
        return key_of(secret)
    except BadSecret as wrong:
        file.problem(f"`{where}`: the value of {variable} {wrong}")
        return None
