"""The data of a run until its export: plain values that cost almost nothing to create."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from graph_agent.redaction.known_secrets import KnownSecrets

Kind = Literal["AGENT", "CHAIN", "CHAT_MODEL", "LLM", "RETRIEVER", "TOOL"]
"""The MLflow span types that a run has."""


@dataclass(slots=True, eq=False)
class SpanRecord:
    """One step of a run. Inputs and outputs are references to the original objects. The exporter's thread converts
    them to JSON."""

    id: int
    """64 random bits, unique within the trace."""

    parent: "SpanRecord | None"
    """`None` only for the root."""

    name: str
    kind: Kind
    start_ns: int
    """Nanoseconds since 1970."""

    end_ns: int = 0
    """Nanoseconds since 1970. 0 while the step is running."""

    error: str | None = None
    """The type of the exception that ended the step, never its message."""

    inputs: Any = None
    outputs: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    """Values by MLflow's attribute names. They are not serialized yet."""

    def end(self, *, now_ns: int, outputs: Any = None, error: str | None = None) -> None:
        """End the step. A second call does nothing."""
        # A synchronous node may report its end after `RunRecorder.close` ended its span.
        if self.end_ns:
            return
        self.end_ns = now_ns
        self.error = error
        if outputs is not None:
            self.outputs = outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A finished run, ready for export."""

    trace_id: str
    """`tr-` and 32 hexadecimal digits."""

    spans: tuple[SpanRecord, ...]
    """The root comes first, and parents come before their children."""

    session: str | None = None
    """The conversation, which becomes the trace's session in MLflow."""

    user: str | None = None
    """The user who asked."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the trace. They are searchable in MLflow, and can be changed there."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Metadata of the trace. It is searchable in MLflow, and cannot be changed there."""

    hidden: KnownSecrets | None = field(default=None, repr=False)
    """Secrets of the request, which must not appear in any attribute."""

    def of_version(self, version: Mapping[str, str]) -> Self:
        """A copy of the run with the version of the code (from `version_of`): the version as a tag, its parts as
        metadata."""
        tags = {name: value for name, value in version.items() if not name.startswith("mlflow.")}
        parts = {name: value for name, value in version.items() if name not in tags}
        return replace(self, tags={**tags, **self.tags}, metadata={**parts, **self.metadata})

    @property
    def root(self) -> SpanRecord:
        """The span of the whole run."""
        return self.spans[0]
