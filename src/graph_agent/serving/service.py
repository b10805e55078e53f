"""What the endpoints need once everything heavy is imported."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from graph_agent.caller import Caller
from graph_agent.catalog import Catalog
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.incoming import Invocation, parse_request
from graph_agent.protocol.json_text import Pulse, no_pulse
from graph_agent.runs.runner import Run
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.serving.traced import Traced


class Tracer(Protocol):
    """Opens a trace per run."""

    def open(self, *, invocation: Invocation, caller: Caller, graph: str) -> "Traced":
        """The recorder of a run that is about to start."""

    def start(self) -> None:
        """Begin to open the store, in the background."""

    def close(self, timeout_seconds: float) -> Any:
        """Deliver what waits, for at most so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A catalogue, the budgets, and a tracer: everything a request becomes a run with."""

    settings: Settings
    catalog: Catalog
    tracer: Tracer | None

    def parse(self, body: bytes, dialect: Dialect, *, pulse: Pulse = no_pulse) -> Invocation:
        """The request as a value; `pulse` is called all the while.

        Raises:
            InvalidRequest: and its kind; `param` names the field.
        """
        fallback = self.catalog.default if dialect.any_model else self.settings.fallback_graph
        return parse_request(body, graphs=self.catalog.names, fallback=fallback, pulse=pulse)

    async def open_run(
        self, invocation: Invocation, *, caller: Caller, dialect: Dialect, seconds: float | None = None
    ) -> "tuple[Run, Traced | None]":
        """A run ready to start, and what records it. It may take `seconds`, where those are less than its budget.

        Raises:
            AgentError: before the first byte.
        """
        name = invocation.graph or self.catalog.default
        graph = await self.catalog.get(name)
        recorder = None if self.tracer is None else self.tracer.open(invocation=invocation, caller=caller, graph=name)
        budgets = self.settings.budgets
        run = Run(
            graph=graph,
            invocation=invocation,
            caller=caller,
            budgets=budgets if seconds is None else replace(budgets, seconds=min(seconds, budgets.seconds)),
            dialect=dialect,
            model_name=name,
            recorder=recorder,
        )
        return run, recorder
