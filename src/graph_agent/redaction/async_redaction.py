"""Redaction of megabytes on an event loop: a few milliseconds at a time, and others' work between.

A thread would not help: a regular expression holds the interpreter for as long as it runs.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from graph_agent.redaction.text import AHEAD, AT_ONCE, Steps, T, redact, redacting
from graph_agent.redaction.values import redacting_value


async def redact_async(text: str) -> str:
    """As `redact`; others work meanwhile where the text is long."""
    return redact(text) if len(text) <= AT_ONCE else await _driven(redacting(text))


async def redact_value_async(value: Any) -> Any:
    """As `redact_value`; others work meanwhile where the value is great."""
    return await _driven(redacting_value(value))


@contextmanager
def with_redacted(shown: Mapping[str, str]) -> Iterator[None]:
    """Within it `redact` knows what may be shown of these long texts, and looks through none of them again."""
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
        await asyncio.sleep(0)
