"""Which model calls are within another: a model that asks another is one voice, and costs once."""

from contextvars import ContextVar
from uuid import UUID

from graph_agent.runs.usage_meter import UsageMeter

_speaking: ContextVar[UUID | None] = ContextVar("graph_agent_speaking", default=None)
"""The model call under way here: one that begins meanwhile is of a model that it wraps."""


class NestedCalls:
    """The calls of one run that are within another."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter
        self._outer: dict[UUID, UUID] = {}

    def began(self, run_id: UUID, parent_run_id: UUID | None) -> UUID | None:
        """A model call begins; the call that wraps it, if one does."""
        outer = self._wrapper(parent_run_id)
        if outer is not None:
            self._outer[run_id] = outer
        _speaking.set(run_id)
        return outer

    def ended(self, run_id: UUID) -> None:
        """It is over."""
        if _speaking.get() == run_id:
            _speaking.set(self._outer.get(run_id))

    def _wrapper(self, parent_run_id: UUID | None) -> UUID | None:
        """Its parent, or a call under way where the model was not told of that.

        One that was heard already is no wrapper of what begins now: its reader is calling another model.
        """
        if parent_run_id is not None and self._meter.call(parent_run_id) is not None:
            return parent_run_id
        speaking = _speaking.get()
        return speaking if speaking is not None and self._meter.is_silent(speaking) else None
