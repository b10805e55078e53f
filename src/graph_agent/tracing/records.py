"""What is kept of a run until it is exported: plain values that cost next to nothing to make."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from graph_agent.redaction.known_secrets import KnownSecrets

Kind = Literal["AGENT", "CHAIN", "CHAT_MODEL", "LLM", "RETRIEVER", "TOOL"]
"""MLflow's span types that a run is made of."""


@dataclass(slots=True, eq=False)
class SpanRecord:
    """One step of a run. Inputs and outputs are references; they become JSON in the exporter's thread."""

    id: int
    """64 random bits; unique within the trace."""

    parent: "SpanRecord | None"
    """`None` for the root alone."""

    name: str
    kind: Kind
    start_ns: int
    """Nanoseconds since 1970."""

    end_ns: int = 0
    """Nanoseconds since 1970; 0 while the step is under way."""

    error: str | None = None
    """Type of the exception that ended the step, never its message."""

    inputs: Any = None
    outputs: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)
    """MLflow's names, values still to be serialised."""

    def end(self, *, now_ns: int, outputs: Any = None, error: str | None = None) -> None:
        """The step is over; does nothing the second time."""
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
    """The root first; parents before their children."""

    session: str | None = None
    """The conversation, as MLflow's sessions group traces."""

    user: str | None = None
    """Who asked."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """Shown and searchable in MLflow."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """The same, and fixed."""

    hidden: KnownSecrets | None = field(default=None, repr=False)
    """Secrets of the request, which no attribute may tell."""

    def of_version(self, version: Mapping[str, str]) -> Self:
        """The same run, made by that version of the code (`version_of`): the whole as a tag, its parts as metadata."""
        tags = {name: value for name, value in version.items() if not name.startswith("mlflow.")}
        parts = {name: value for name, value in version.items() if name not in tags}
        return replace(self, tags={**tags, **self.tags}, metadata={**parts, **self.metadata})

    @property
    def root(self) -> SpanRecord:
        """The span of the whole run."""
        return self.spans[0]
