"""How the app gets graph-agent itself: from its requirements.txt, with a wheel next to the sources if it needs one.

A project that depends on graph-agent names it in `requirements.txt`. If it was installed here from a package index, the
app can install it from there too. If it was installed from a checkout or a file, an index may not have it. Then its
wheel is uploaded next to `requirements.txt`, and the uploaded copy of that file names the wheel instead.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from graph_agent.deploying.package_wheel import Installed, Wheel
from graph_agent.deploying.sources import Source, Sources
from graph_agent.deploying.waiting import Say
from graph_agent.errors import DeployRefused

REQUIREMENTS = "requirements.txt"

Find = Callable[[], Installed]
"""Looks up how graph-agent is installed here."""

# By PEP 503, any run of `-`, `_` and `.` in a name means the same. The limits keep the patterns linear.
_NAME = r"graph[-_.]{1,3}agent"
_NAMED = re.compile(
    rf"\A\s{{0,32}}{_NAME}(?![\w.-])\s{{0,32}}(?P<extras>\[[^\]\n]*\])?\s{{0,32}}(?P<address>@\s{{0,32}}\S+)?",
    re.IGNORECASE,
)
_WHEEL = re.compile(r"\A\s{0,32}(?P<path>[^\s#;\[]{0,500}graph_agent-[^\s#;\[/]{1,200}\.whl)", re.IGNORECASE)
_STARTS_IT = re.compile(r"graph[-_]agent")


def with_package(sources: Sources, folder: str, *, find: Find, say: Say) -> Sources:
    """The sources, with the wheel of this package if the app needs it. `folder` is the app's folder relative to the
    bundle's.

    Raises:
        DeployRefused: a wheel is needed but cannot be built.
    """
    path = _in(folder, REQUIREMENTS)
    if path not in sources.files:
        return sources
    # `surrogateescape` keeps bytes that are not UTF-8, so that they are written back unchanged.
    text = sources.files[path].content.decode("utf-8", "surrogateescape")
    if not any(_is_ours(line) for line in _logical_lines(text)):
        return sources
    installed = find()
    if installed.from_index:
        return sources
    wheel = installed.packed()
    say(f"graph-agent {installed.version} was not installed from a package index, so its wheel is added: {wheel.name}")
    if not installed.has_page:
        say("the chat page is not built, so the app has none: run `make page` in the checkout of graph-agent first")
    added = [(_in(folder, wheel.name), wheel.content), (path, _naming(wheel, text))]
    return replace(sources, files=dict(sorted({**sources.files, **dict(_sources(added))}.items())))


def missing_package(files: Mapping[str, Source], folder: str, command: Sequence[str]) -> Iterator[DeployRefused]:
    """The problems that prevent the app from finding graph-agent, if its command starts graph-agent."""
    path = _in(folder, REQUIREMENTS)
    if path not in files or not any(_STARTS_IT.search(part) for part in command):
        return
    lines = _logical_lines(files[path].content.decode("utf-8", "surrogateescape"))
    wheels = [found["path"] for found in map(_WHEEL.match, lines) if found]
    yield from (
        DeployRefused(f"{path} names {one}, which is not among the files to upload; add that file to git")
        for one in wheels
        if "://" not in one and _in(folder, one) not in files
    )
    there = any(_NAMED.match(line) or _WHEEL.match(line) or line.lstrip().startswith("-") for line in lines)
    # `there` includes lines such as `-r more.txt`: their contents are unknown, so graph-agent may be among them.
    if not there and not any(one.endswith("graph_agent/__init__.py") for one in files):
        yield DeployRefused(
            f"{path} does not name graph-agent, but the app's command starts it; add the line: graph-agent"
        )


def _is_ours(line: str) -> bool:
    """Whether the line requires this package by name, or by a path on this machine."""
    found = _NAMED.match(line)
    return found is not None and (not found["address"] or "file:" in found["address"])


def _naming(wheel: Wheel, text: str) -> bytes:
    # If one line of the file has a hash, pip requires hashes for all of them.
    digest = f" --hash=sha256:{hashlib.sha256(wheel.content).hexdigest()}" if "--hash=" in text else ""
    lines = []
    for line in _logical_lines(text):
        found = _NAMED.match(line)
        if found is not None and _is_ours(line):
            line = f"./{wheel.name}{found['extras'] or ''}{digest}"
        lines.append(line)
    return "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")


def _logical_lines(text: str) -> list[str]:
    """The lines of the file. A line that ends with a backslash is joined with the next one, as pip reads them."""
    lines: list[str] = []
    continued = False
    for line in text.splitlines():
        if continued:
            lines[-1] += f"\n{line}"
        else:
            lines.append(line)
        continued = line.endswith("\\")
    return lines


def _in(folder: str, name: str) -> str:
    return PurePosixPath(folder, name).as_posix()


def _sources(files: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, Source]]:
    for path, content in files:
        yield path, Source(path, content, hashlib.sha256(content).hexdigest())
