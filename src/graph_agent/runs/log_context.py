"""What is known of the request at hand, for its log lines: its run, tasks and threads have it from their scope."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Facts = dict[str, Any]

# One mutable value per request: what the run learns later shows in lines of tasks that began before.
_FACTS: ContextVar[Facts | None] = ContextVar("graph_agent_log_facts", default=None)


@contextmanager
def within_log_facts(facts: Facts | None) -> Iterator[None]:
    """Within it `add_log_facts` adds to `log_facts`, and log lines show them; `None` means that no request is at
    hand."""
    before = _FACTS.set(facts)
    try:
        yield
    finally:
        _FACTS.reset(before)


def add_log_facts(**facts: Any) -> None:
    """Remember these for the log lines of the request at hand; does nothing outside of one."""
    known = _FACTS.get()
    if known is not None:
        known.update(facts)


def current_log_facts() -> Facts | None:
    """Those of the request at hand, for the scope of its run; `None` outside of a request."""
    return _FACTS.get()


def log_facts() -> Mapping[str, Any]:
    """What is known of the request at hand."""
    return _FACTS.get() or {}
