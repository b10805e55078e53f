"""Where a stranger's exception was and of what type, without what it says: its message may hold a password."""

import traceback
from collections.abc import Iterator
from pathlib import Path


def describe(error: BaseException, *, own: Path | None = None) -> str:
    """Where and of what type an exception is, for the log: types and code places, never messages or values.

    With `own`, a folder, the last line of a file in it is named too: what an author can mend.
    """
    return " <- ".join(f"{type(one).__name__} at {_place(one, own)}" for one in chain_of(error))


def chain_of(error: BaseException) -> Iterator[BaseException]:
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
    theirs = [frame for frame in frames[:-1] if own is not None and Path(frame.filename).is_relative_to(own)]
    if own is None or not theirs or Path(last.filename).is_relative_to(own):
        return place
    return f"{place}, called from {Path(theirs[-1].filename).relative_to(own)}:{theirs[-1].lineno}"
