"""Interrupts: a graph that waits for a person's decision, as LangGraph's stream parts carry it.

An interrupt is a separate kind of end, neither an answer nor a failure. `interrupt()` ends a graph with one interrupt
for each call that waits. A breakpoint (`interrupt_before`, `interrupt_after`) ends it without interrupts: there is no
question, only a place from which to resume.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_agent.protocol.requested_calls import Namespace

INTERRUPT = "__interrupt__"
"""The key under which LangGraph's `updates` and `values` carry interrupts."""


@dataclass(frozen=True, slots=True)
class PendingInterrupt:
    """One call of `interrupt()` that waits for its answer."""

    id: str
    """LangGraph's id: `Command(resume={id: answer})` answers this interrupt and no other."""

    value: Any = field(repr=False)
    """What the graph asked. It is the graph's own and may hold a secret, so no `repr` shows it."""

    namespace: Namespace = ()
    """The graph that asked. Empty for the top graph, and for a graph whose stream parts are private."""

    schema: Any = field(default=None, repr=False, compare=False)
    """The JSON schema of the answer, if the graph gave one."""

    yes_or_no: bool = False
    """Whether a question is answered with yes or no alone."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The end of a run with a graph that waits. Without interrupts, the graph stopped at a breakpoint."""

    interrupts: tuple[PendingInterrupt, ...] = ()


class Interrupts:
    """Collects the interrupts of one run.

    Feed it to the end of the run: LangGraph reports an interrupt immediately, while parallel nodes still work, and each
    of them may ask something too.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Any] = {}
        self._schemas: dict[str, Any] = {}
        self._namespaces: dict[str, Namespace] = {}
        self._stopped = False

    @property
    def ending(self) -> Interrupted | None:
        """How the run ends, or `None` if the top graph reported no interrupt."""
        if not self._stopped:
            return None
        found = [
            PendingInterrupt(id, value, self._namespaces.get(id, ()), self._schemas.get(id))
            for id, value in self._pending.items()
        ]
        return Interrupted(tuple(found))

    def feed(self, data: Mapping[str, Any], ns: Namespace) -> None:
        """The data of an `updates` or `values` part that has the key `INTERRUPT`."""
        for one in data[INTERRUPT]:
            # Each graph on the way up reports the same interrupt again; the first report is the asking graph's.
            self._namespaces.setdefault(one.id, ns)
            if not ns:
                # Only what reaches the top waits for an answer from outside.
                self._pending[one.id] = one.value
                self._schemas[one.id] = getattr(one, "response_schema", None)
        # An interrupt that a node of an outer graph caught never reaches the top: nothing waits for its answer.
        self._stopped = self._stopped or not ns
