"""Describes exceptions of third-party code by type and place, without their message, which may hold a password."""

import re
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from graph_agent.errors import AgentError
from graph_agent.redaction import redact

TRACEBACK = "fault"
"""The attribute of a log record that holds a `Fault`. The terminal of `graph-agent dev` shows its whole traceback."""

MOST_CHARACTERS = 20_000
"""The longest traceback that is shown. An exception may quote a whole document."""

MOST_FRAMES = 100

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that a terminal interprets as commands or as the end of a line."""


class Fault:
    """An exception in a log record.

    Its `repr` shows only the type: the formatter of a host app may print every attribute of a record, and the message
    of the exception may hold secrets.
    """

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<{type(self.error).__name__}>"


def describe_error(error: BaseException, *, own: Path | None = None) -> str:
    """Describe an exception for the log: types and places in the code, never messages or values.

    For an exception in a library, the last line of the author's code is named too, since the author can fix that. The
    author's code is the folder `own`; without it, everything outside of installed packages.
    """
    return " <- ".join(f"{type(one).__name__} at {_place(one, own)}" for one in error_chain(error))


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, the members of exception groups, and all causes and contexts, each once."""
    # By identity, because causes can form a circle.
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
    by_author = [frame for frame in frames if _is_by_author(frame.filename, own)]
    if not by_author or by_author[-1] is last:
        return place
    file = Path(by_author[-1].filename)
    return f"{place}, called from {file.relative_to(own) if own else file}:{by_author[-1].lineno}"


def _is_by_author(file: str, own: Path | None) -> bool:
    if own is not None:
        return Path(file).is_relative_to(own)
    return not file.startswith(("<", *installed_folders()))


@cache
def installed_folders() -> tuple[str, ...]:
    """The folders of code that the author of a graph did not write: Python, libraries and this package."""
    paths = sysconfig.get_paths()
    return (str(Path(__file__).parent), *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")))


def dev_traceback(error: BaseException) -> dict[str, Fault]:
    """The `extra` of a log call about `error`. It is empty for our own errors, whose message says everything."""
    return {} if isinstance(error, AgentError) else {TRACEBACK: Fault(error)}


def is_argument_error(error: BaseException) -> bool:
    """Whether a tool refused the arguments of the model before the tool's own code ran."""
    # Late, because the port answers before pydantic is imported.
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return False
    # A tool that validates other data raises the same type. The methods of LangChain's `BaseTool` in the traceback
    # tell which of the two happened.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in ("_run", "_arun"):
            return False
        if frame.f_code.co_name == "_parse_input":
            return True
    return False


def whole_traceback(error: BaseException) -> str:
    """What Python prints for an exception, without secrets and control characters, with each line indented.

    Of a long text only the beginning and the end are kept: they have the first places and the exception itself.
    """
    text = "".join(traceback.format_exception(error, limit=-MOST_FRAMES))
    if len(text) <= MOST_CHARACTERS:
        text = redact(text)
    else:
        half = MOST_CHARACTERS // 2
        # Redacts more than is shown: a secret that was cut in half would not be recognized.
        text = f"{redact(text[:MOST_CHARACTERS])[:half]}\n…\n{redact(text[-MOST_CHARACTERS:])[-half:]}"
    lines = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.rstrip()).split("\n")
    return "\n".join(f"    {line}" for line in lines)
