"""Which process listens on a port of this machine, as Linux tells the user who started it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
"""Only Linux has it."""

LISTENS = "0A"
"""The state of a listening socket in `/proc/net/tcp`."""

STOPPED = frozenset("Tt")
"""The states of a process that was stopped with Ctrl-Z or SIGSTOP, or that a debugger holds."""


@dataclass(frozen=True, slots=True)
class PortHolder:
    """A process that listens on a port."""

    pid: int
    program: str
    """The name of its program, without a path."""

    command: str | None
    """The subcommand, if it is a `graph-agent`, such as `dev`. Empty if it is not known. Otherwise `None`."""

    folder: Path | None
    """Its current folder."""

    is_stopped: bool
    """Whether it does nothing until somebody continues it."""


def port_holder(port: int) -> PortHolder | None:
    """The process that listens on a port. `None` if there is none, if it belongs to another user, or if the system is
    not Linux."""
    links = {f"socket:[{inode}]" for inode in _listening(port)}
    if not links:
        return None
    holders = [int(place.name) for place in PROC.iterdir() if place.name.isdecimal() and _has(place / "fd", links)]
    # Those that it has started may have inherited its socket, and have higher ids.
    for pid in sorted(holders):
        with suppress(OSError):
            return _told(pid)
    return None


def _listening(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on the port."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _has(folder: Path, links: set[str]) -> bool:
    with suppress(OSError):
        for descriptor in folder.iterdir():
            # It may be closed meanwhile.
            with suppress(FileNotFoundError):
                if os.readlink(descriptor) in links:
                    return True
    return False


def _told(pid: int) -> PortHolder:
    words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    # The name of the program stands in parentheses, and may contain some.
    state = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    folder = None
    with suppress(OSError):
        folder = (PROC / str(pid) / "cwd").readlink()
    return PortHolder(
        pid=pid, program=Path(words[0]).name, command=_command(words), folder=folder, is_stopped=state in STOPPED
    )


def _command(words: list[str]) -> str | None:
    for place, word in enumerate(words):
        if word == "graph_agent" or Path(word).name in ("graph-agent", "graph-agent.exe"):
            said = words[place + 1 : place + 2]
            return said[0] if said and not said[0].startswith("-") else ""
    return None
