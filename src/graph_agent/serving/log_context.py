"""What is known of the request at hand, for its log lines: it follows the request into its run, tasks and threads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Facts = dict[str, Any]

# One mutable value per request: what the run learns later shows in lines of tasks that began before.
_FACTS: ContextVar[Facts | None] = ContextVar("graph_agent_log_facts", default=None)


@contextmanager
def noting() -> Iterator[Facts]:
    """A request begins: what is noted within belongs to it."""
    facts: Facts = {}
    before = _FACTS.set(facts)
    try:
        yield facts
    finally:
        _FACTS.reset(before)


def note(**facts: Any) -> None:
    """Remember these for the log lines of the request at hand; does nothing outside of one."""
    known = _FACTS.get()
    if known is not None:
        known.update(facts)


def facts() -> Mapping[str, Any]:
    """What is known of the request at hand."""
    return _FACTS.get() or {}
