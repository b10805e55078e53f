"""Facts about the current request, for its log lines. A run gets them from its scope, with its tasks and threads."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Facts = dict[str, Any]

# One mutable value for each request: facts that are added later appear in the lines of tasks that started earlier.
_FACTS: ContextVar[Facts | None] = ContextVar("graph_agent_log_facts", default=None)


@contextmanager
def within_log_facts(facts: Facts | None) -> Iterator[None]:
    """Within this context, `add_log_facts` adds to `facts`, and log lines show them. `None` means: no request."""
    before = _FACTS.set(facts)
    try:
        yield
    finally:
        _FACTS.reset(before)


def add_log_facts(**facts: Any) -> None:
    """Add facts to the log lines of the current request. Does nothing outside of a request."""
    known = _FACTS.get()
    if known is not None:
        known.update(facts)


def current_log_facts() -> Facts | None:
    """The facts of the current request, for the scope of its run, or `None` outside of a request."""
    return _FACTS.get()


def log_facts() -> Mapping[str, Any]:
    """The facts of the current request, to read."""
    return _FACTS.get() or {}
