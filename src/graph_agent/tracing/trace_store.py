"""What the exporter needs of a trace store, and the errors a store raises."""

from collections.abc import Sequence
from typing import Protocol

from graph_agent.tracing.records import RunRecord

MAY_PASS = frozenset({401, 403, 408, 429, 502, 503, 504})
"""HTTP statuses that say nothing against the traces: a credential to be renewed, a server under load. A plain 500 is
not among them: MLflow says it of a trace that its database cannot hold."""


class StoreError(Exception):
    """Base of what a store raises; its message is ours."""


class StoreUnavailable(StoreError):
    """The store does not answer, or not now: what was to be written may be written later."""


class RecordRefused(StoreError):
    """The store answered that it will never take this."""


class AlreadyStored(RecordRefused):
    """The store has this trace."""


class TraceStore(Protocol):
    """What the exporter's thread writes to."""

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces.

        Raises:
            StoreUnavailable: none was stored; try again.
            RecordRefused: none was stored; at least one is at fault.
        """

    def close(self) -> None:
        """Let go of connections."""
