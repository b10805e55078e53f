"""The interface of a trace store for the exporter, and the errors that a store raises."""

from collections.abc import Sequence
from typing import Protocol

from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord

MAY_PASS = frozenset({401, 403, 408, 429, 502, 503, 504})
"""HTTP statuses that are not about the traces themselves, such as an expired credential or an overloaded server. A
plain 500 is not one of them: MLflow answers it for a trace that its database cannot store."""


class StoreError(Exception):
    """The base of the errors that a store raises. Its message is safe to log: it contains no foreign text."""


class StoreUnavailable(StoreError):
    """The store does not answer now. A later try may succeed."""


class RecordRefused(StoreError):
    """The store answered that it will never accept this record."""


class Missing(RecordRefused):
    """The store has no such trace or object."""


class AlreadyStored(RecordRefused):
    """The store already has this trace."""


class TraceStore(Protocol):
    """The store that the exporter's thread writes to."""

    def write(self, records: Sequence[RunRecord]) -> None:
        """Store whole traces.

        Raises:
            StoreUnavailable: none was stored. Try again.
            RecordRefused: none was stored, because of at least one of them.
        """

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """Store a person's feedback on a trace, in place of the assessment with the id `assessment`. Returns the id.

        It is called in another thread than `write`.

        Raises:
            StoreUnavailable: try again.
            Missing: there is no such trace.
            RecordRefused: the store does not take it.
        """

    def close(self) -> None:
        """Close the connections."""
