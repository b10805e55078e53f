"""The spans of one run, and the span that each step of the run belongs under.

LangChain reports steps as runs with ids, and only some of them become spans. The tree finds the nearest span above a
step, so that a step without a span passes its children on to its parent.
"""

import random
import time
from typing import Any
from uuid import UUID

from graph_agent.tracing.records import Kind, SpanRecord

_LOW_BITS = (1 << 64) - 1


class SpanTree:
    """The root span and the spans below it. `steps` are LangChain's run ids."""

    def __init__(self, name: str, inputs: Any) -> None:
        # An id of 0 is invalid in OpenTelemetry.
        self.root = SpanRecord(random.getrandbits(64) or 1, None, name, "AGENT", time.time_ns(), inputs=inputs)
        self.spans = [self.root]
        """All spans. The root comes first, and parents come before their children."""
        self._open: dict[UUID, SpanRecord] = {}
        """Spans that have not ended, by step."""
        self._owners: dict[UUID | None, SpanRecord] = {}
        """The span that the children of a step belong under."""
        self._pending: dict[UUID, tuple[str, int]] = {}
        """Steps without a span that may turn out to be graphs: name and start."""

    def start(self, step: UUID, parent: UUID | None, name: str, kind: Kind, inputs: Any = None) -> SpanRecord:
        """Add a span for a step that begins now."""
        # LangChain's run ids are random, so their low bits are as good as new random bits, and cost less.
        span = self._add(step.int & _LOW_BITS, self.owner(parent), name, kind, inputs, time.time_ns())
        self._open[step] = self._owners[step] = span
        return span

    def add(self, parent: UUID | None, name: str, kind: Kind, inputs: Any, start_ns: int) -> SpanRecord:
        """Add a span that is not a step of LangChain, and that the caller ends."""
        return self._add(random.getrandbits(64) or 1, self.owner(parent), name, kind, inputs, start_ns)

    def pass_on(self, step: UUID, parent: UUID | None, name: str | None = None) -> None:
        """Give a step no span: its children belong under its parent's span. With `name`, it may become a graph."""
        if name is not None and parent in self._owners:
            self._pending[step] = (name, time.time_ns())
        self._owners[step] = self.owner(parent)

    def became_graph(self, step: UUID | None) -> None:
        """Give a step a span after all, from when it started: it has a node, so it is a graph."""
        if step is None or step not in self._pending:
            return
        name, start_ns = self._pending.pop(step)
        span = self._add(step.int & _LOW_BITS, self._owners[step], name, "CHAIN", None, start_ns)
        self._open[step] = self._owners[step] = span

    def owner(self, step: UUID | None) -> SpanRecord:
        """The span that the children of a step belong under. The root, if the step is not known."""
        return self._owners.get(step, self.root)

    def is_outermost(self, step: UUID) -> bool:
        """Whether the step is the graph itself, or one without a span directly in it."""
        return self._owners.get(step) is self.root

    def find_open(self, step: UUID) -> SpanRecord | None:
        """The span of a step that has not ended."""
        return self._open.get(step)

    def end(self, step: UUID) -> SpanRecord | None:
        """Take the span of a step that ends now. `None` if it has none, or if it ended already."""
        return self._open.pop(step, None)

    def close(self) -> None:
        """Forget the steps, so that nothing that is reported later finds a span."""
        self._open.clear()
        self._owners.clear()

    def _add(self, span_id: int, parent: SpanRecord, name: str, kind: Kind, inputs: Any, start_ns: int) -> SpanRecord:
        span = SpanRecord(span_id, parent, name, kind, start_ns, inputs=inputs)
        self.spans.append(span)
        return span
