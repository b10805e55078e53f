"""Redacts megabytes on an event loop, a few milliseconds at a time, so that other tasks can run in between.

A thread would not help: a regular expression holds the interpreter lock for as long as it runs.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from graph_agent.redaction.text import AHEAD, AT_ONCE, Steps, T, redact, redacting
from graph_agent.redaction.values import redacting_value


async def redact_async(text: str) -> str:
    """Do the same as `redact`. For a long text, other tasks run in between."""
    return redact(text) if len(text) <= AT_ONCE else await _driven(redacting(text))


async def redact_value_async(value: Any) -> Any:
    """Do the same as `redact_value`. For a large value, other tasks run in between."""
    return await _driven(redacting_value(value))


@contextmanager
def with_redacted(shown: Mapping[str, str]) -> Iterator[None]:
    """Tell `redact` the redacted form of these long texts, so that it does not scan them again inside the block."""
    before = AHEAD.set(shown)
    try:
        yield
    finally:
        AHEAD.reset(before)


async def _driven(steps: Steps[T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
        # Gives every other task that is ready one turn.
        await asyncio.sleep(0)
