"""Whether a run has ended. Tasks and threads that it left behind check this: they must not act for its user."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class RunLifetime:
    """The lifetime of one run. `over` is true once the run has ended, even if a task or thread of it still runs."""

    __slots__ = ("over",)

    def __init__(self) -> None:
        self.over = False

    def end(self) -> None:
        """The run has ended."""
        self.over = True


_CURRENT: ContextVar[RunLifetime | None] = ContextVar("graph_agent_lifetime", default=None)


@contextmanager
def within_lifetime(lifetime: RunLifetime) -> Iterator[None]:
    """Tasks and threads that start within this context belong to that run."""
    before = _CURRENT.set(lifetime)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def current_lifetime() -> RunLifetime | None:
    """The lifetime of the run to which this code belongs, or `None` outside of a run."""
    return _CURRENT.get()
