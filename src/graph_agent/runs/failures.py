"""Exceptions of graphs, tools and clients, made safe: a stranger's message may hold a password."""

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path

from graph_agent.errors import AgentError, GraphFailed, ModelFailed, RunCancelled


def safe_error(error: BaseException, *, model_error: BaseException | None = None) -> AgentError:
    """The error of our family that the caller is told, with nothing of the exception's own text.

    `model_error` is the last exception a model call raised: if it is what ended the run, the model is to blame.
    """
    if isinstance(error, AgentError):
        return error
    if isinstance(error, asyncio.CancelledError):
        return RunCancelled("the run was cancelled")
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, AgentError):
            return one
    name = type(error).__name__
    if model_error is not None and any(one is model_error for one in chain):
        return ModelFailed(f"the model endpoint failed ({name}); the service's log has the place")
    return GraphFailed(f"the graph failed ({name}); the service's log has the place")


def describe(error: BaseException, *, own: Path | None = None) -> str:
    """Where and of what type an exception is, for the log: types and code places, never messages or values.

    With `own`, a folder, the last line of a file in it is named too: what an author can mend.
    """
    return " <- ".join(f"{type(one).__name__} at {_place(one, own)}" for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
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
