"""How long a run lives: what it left behind in tasks and threads can ask, and must not act for its user any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class RunLifetime:
    """Of one run: `over` once it has ended, whatever of it still goes on."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def end(self) -> None:
        """The run has ended."""
        self.over = True


_CURRENT: ContextVar[RunLifetime | None] = ContextVar("graph_agent_lifetime", default=None)


@contextmanager
def within_lifetime(lifetime: RunLifetime) -> Iterator[None]:
    """Tasks and threads that begin within it belong to that run."""
    before = _CURRENT.set(lifetime)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_lifetime() -> RunLifetime | None:
    """Of the run that this code belongs to; `None` outside of one."""
    return _CURRENT.get()
