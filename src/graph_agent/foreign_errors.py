"""Where a stranger's exception was and of what type, without what it says: its message may hold a password."""

import re
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from graph_agent.errors import AgentError
from graph_agent.redaction import redact

TRACEBACK = "fault"
"""Attribute of a log record: the `Fault` whose whole traceback the terminal of `graph-agent dev` shows."""

MOST_CHARACTERS = 20_000
"""Of one traceback that is shown; an exception may quote a whole document."""

MOST_FRAMES = 100

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""What a terminal would obey, or take for the end of a line."""


class Fault:
    """An exception inside a log record.

    It says nothing of the exception when it is printed: the formatters of a host app may print every attribute of a
    record, and the exception's message may hold anything.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<{type(self.error).__name__}>"


def describe_error(error: BaseException, *, own: Path | None = None) -> str:
    """Where and of what type an exception is, for the log: types and code places, never messages or values.

    Where that is in a library, the last line of an author's file is named too: what can be mended. An author's are the
    files in the folder `own`; without it, those of no installed package.
    """
    return " <- ".join(f"{type(one).__name__} at {_place(one, own)}" for one in error_chain(error))


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, those it holds, and what led to each, every one once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        waiting.extend(link for link in (one.__cause__, one.__context__) if link is not None)


def _place(error: BaseException, own: Path | None) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    last = frames[-1]
    place = f"{last.filename}:{last.lineno} in {last.name}"
    theirs = [frame for frame in frames if _is_theirs(frame.filename, own)]
    if not theirs or theirs[-1] is last:
        return place
    file = Path(theirs[-1].filename)
    return f"{place}, called from {file.relative_to(own) if own else file}:{theirs[-1].lineno}"


def _is_theirs(file: str, own: Path | None) -> bool:
    if own is not None:
        return Path(file).is_relative_to(own)
    return not file.startswith(("<", *installed_folders()))


@cache
def installed_folders() -> tuple[str, ...]:
    """Where the code is that no author of a graph wrote: Python's, libraries', ours."""
    paths = sysconfig.get_paths()
    return (str(Path(__file__).parent), *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def dev_traceback(error: BaseException) -> dict[str, Fault]:
    """`extra` of a log call about `error`. Our own errors say all there is to say in their messages."""
    return {} if isinstance(error, AgentError) else {TRACEBACK: Fault(error)}


def is_argument_error(error: BaseException) -> bool:
    """Whether a tool refused what the model called it with: the tool itself has not begun.

    A tool that checks what it was given by others raises the same type.
    """
    # Late: the port answers before pydantic is imported.
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in ("_run", "_arun"):
            return False
        if frame.f_code.co_name == "_parse_input":
            return True
    return False


def whole_traceback(error: BaseException) -> str:
    """What Python prints of an exception, without secrets and control characters, each line indented.

    Of one that is too long the beginning and the end: there stand the first places and what was raised.
    """
    text = "".join(traceback.format_exception(error, limit=-MOST_FRAMES))
    if len(text) <= MOST_CHARACTERS:
        text = redact(text)
    else:
        half = MOST_CHARACTERS // 2
        # Of more than is shown: half a secret looks like none.
        text = f"{redact(text[:MOST_CHARACTERS])[:half]}\n…\n{redact(text[-MOST_CHARACTERS:])[-half:]}"
    lines = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.rstrip()).split("\n")
    return "\n".join(f"    {line}" for line in lines)
