"""Finds model calls inside of other model calls. A model that calls another one speaks once and is counted once."""

from contextvars import ContextVar
from uuid import UUID

from graph_agent.runs.usage_meter import UsageMeter

_speaking: ContextVar[UUID | None] = ContextVar("graph_agent_speaking", default=None)
"""The model call that is running in this context. A call that begins meanwhile comes from a wrapped model."""


class NestedCalls:
    """The nested model calls of one run."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter
        self._outer: dict[UUID, UUID] = {}

    def began(self, run_id: UUID, parent_run_id: UUID | None) -> UUID | None:
        """A model call begins. Returns the call that wraps it, or `None`."""
        outer = self._wrapper(parent_run_id)
        if outer is not None:
            self._outer[run_id] = outer
        _speaking.set(run_id)
        return outer

    def ended(self, run_id: UUID) -> None:
        """The call has ended."""
        if _speaking.get() == run_id:
            _speaking.set(self._outer.get(run_id))

    def _wrapper(self, parent_run_id: UUID | None) -> UUID | None:
        """The parent call, or the running call if the model was called without callbacks."""
        # A running call that already has output does not wrap a call that begins now: the code that reads its stream
        # is calling another model.
        if parent_run_id is not None and self._meter.call(parent_run_id) is not None:
            return parent_run_id
        speaking = _speaking.get()
        return speaking if speaking is not None and self._meter.is_silent(speaking) else None
