"""How long a run lives: what it left behind in tasks and threads can ask, and must not act for its user any more."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Lifetime:
    """Of one run: `over` once it has ended, whatever of it still goes on."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def end(self) -> None:
        """The run has ended."""
        self.over = True


_CURRENT: ContextVar[Lifetime | None] = ContextVar("graph_agent_lifetime", default=None)


@contextmanager
def living(lifetime: Lifetime) -> Iterator[None]:
    """Tasks and threads that begin within it belong to that run."""
    before = _CURRENT.set(lifetime)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def lifetime_here() -> Lifetime | None:
    """Of the run that this code belongs to; `None` outside of one."""
    return _CURRENT.get()
