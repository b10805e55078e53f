"""Reads the file of schedules. Imports LangChain, because each request is read by the parser of requests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import orjson

from graph_agent.errors import AgentError, BadSetting
from graph_agent.identity.caller import Caller, Kind
from graph_agent.operator_files import OperatorFile
from graph_agent.scheduling.cron_lines import BadCronLine, CronLine

if TYPE_CHECKING:
    from graph_agent.protocol.requests import Invocation
    from graph_agent.settings import Settings

VARIABLE = "GRAPH_AGENT_SCHEDULES"

FILE = "schedules.toml"
"""The file beside the list of graphs."""

KEYS = ("cron", "timezone", "owner", "overlap", "grace_seconds", "request")

OVERLAPS = ("skip", "allow")

GRACE_SECONDS = 3600.0
"""How late a run may begin, unless the schedule says otherwise."""

MOST_GRACE_SECONDS = 7 * 86_400.0

LONGEST_OWNER = 256
"""Characters of an owner's name."""

FIXED = {"background": True, "store": True, "stream": False}
"""Fields of the request that have one value, because nobody waits for the answer."""

Parse = Callable[[bytes], "Invocation"]
"""Reads the body of a request as `POST /v1/responses` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule."""

    name: str
    cron: CronLine
    owner: Caller
    """Whose responses they are."""

    alone: bool
    """Whether no run begins while an earlier one of the schedule goes on."""

    grace_seconds: float
    request: Mapping[str, Any] = field(repr=False)
    """The fields of the request, as the file has them."""

    graph: str | None
    """The name of the graph. `None` is the default graph."""

    def body(self, tick: float) -> bytes:
        """The body of the request of the run that begins at this time."""
        return _body(self.name, self.request, tick)


def check_settings(settings: "Settings") -> None:
    """Check that scheduled runs are possible at all.

    Raises:
        BadSetting: they are not, with these settings.
    """
    if settings.authorization == "user-required":
        raise BadSetting(
            f"{VARIABLE} does not go with GRAPH_AGENT_AUTHORIZATION=user-required: a scheduled run has no token of a "
            "user. Remove the file of schedules, or choose another authorization",
            param=VARIABLE,
        )
    if settings.store == "memory":
        raise BadSetting(
            f"{VARIABLE} needs a store that outlives the process, which remembers what has run: set GRAPH_AGENT_STORE "
            "to a SQLite file, PostgreSQL or Lakebase",
            param=VARIABLE,
        )


def read_schedules(path: Path, *, kind: Kind, parse: Parse) -> list[Schedule]:
    """The schedules in a file. `kind` is that of the callers of this service.

    Raises:
        BadFile: the file is wrong. It names every problem.
    """
    file, schedules = OperatorFile(path, variable=VARIABLE), []
    for name, entry in file.entries("schedules"):
        before = len(file.problems)
        where = f"schedules.{name}"
        file.only(where, entry, KEYS)
        cron = _cron(file, where, entry)
        owner = file.text(where, entry, "owner")
        if len(owner) > LONGEST_OWNER or not owner.isprintable():
            file.problem(f"`{where}.owner` must have at most {LONGEST_OWNER} characters, all of them printable")
        overlap = file.text(where, entry, "overlap", default="skip")
        if overlap and overlap not in OVERLAPS:
            file.problem(f"`{where}.overlap` must be one of {', '.join(OVERLAPS)}")
        grace = entry.get("grace_seconds", GRACE_SECONDS)
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace <= MOST_GRACE_SECONDS:
            file.problem(f"`{where}.grace_seconds` must be a number from 0 to {MOST_GRACE_SECONDS:.0f} (a week)")
        request, invocation = _request(file, name, entry, parse)
        if len(file.problems) == before and cron is not None and invocation is not None:
            schedules.append(
                Schedule(
                    name=name,
                    cron=cron,
                    owner=Caller(owner, kind=kind),
                    alone=overlap == "skip",
                    grace_seconds=float(grace),
                    request=request,
                    graph=invocation.graph,
                )
            )
    file.check()
    return schedules


def _cron(file: OperatorFile, where: str, entry: Mapping[str, Any]) -> CronLine | None:
    line, zone = file.text(where, entry, "cron"), file.text(where, entry, "timezone", default="UTC")
    try:
        found = ZoneInfo(zone or "UTC")
    except Exception:  # noqa: BLE001 - of a name that is no time zone it raises one of several
        file.problem(f"`{where}.timezone` is not the name of a time zone, such as Europe/Berlin")
        return None
    if not line:
        return None
    try:
        return CronLine(line, found)
    except BadCronLine as wrong:
        file.problem(f"`{where}.cron` {wrong}")
        return None


def _request(
    file: OperatorFile, name: str, entry: Mapping[str, Any], parse: Parse
) -> "tuple[Mapping[str, Any], Invocation | None]":
    where = f"schedules.{name}.request"
    request = entry.get("request")
    if not isinstance(request, dict):
        file.problem(f"`{where}` is missing: write a table [{where}] with the fields of a request, such as `input`")
        return {}, None
    for key, value in FIXED.items():
        if request.get(key, value) is not value:
            file.problem(f"`{where}.{key}` must be left out: a scheduled run is in the background, and stored")
            return {}, None
    try:
        return request, parse(_body(name, request, 0.0))
    except TypeError:
        file.problem(f"`{where}` has a value that JSON does not have, such as a number that is too large")
    except AgentError as error:
        file.problem(f"`{where}`: {error.message}")
    return {}, None


def _body(name: str, request: Mapping[str, Any], tick: float) -> bytes:
    metadata = request.get("metadata")
    if metadata is None or isinstance(metadata, dict):
        at = datetime.fromtimestamp(tick, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        metadata = {"schedule": name, "scheduled_for": at, **(metadata or {})}
    # Dates of TOML become texts.
    return orjson.dumps({**request, "background": True, "metadata": metadata})
