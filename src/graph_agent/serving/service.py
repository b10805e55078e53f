"""What the endpoints need once everything heavy is imported."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graph_agent.app_context import AppContext
from graph_agent.catalog.served_graphs import ServedGraphs
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.requests import Invocation, parse_request

if TYPE_CHECKING:
    from graph_agent.tracing import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A catalog, the settings, and a tracer: what a request becomes a run with."""

    app: AppContext
    """Whose settings and clients every run uses."""

    catalog: ServedGraphs
    tracer: "Tracer | None"

    def parse(self, body: bytes, dialect: Dialect, *, pulse: Pulse = no_pulse) -> Invocation:
        """The request as a value; `pulse` is called all the while.

        Raises:
            InvalidRequest: and its kind; `param` names the field.
        """
        fallback = self.catalog.default if dialect.any_model else self.app.settings.fallback_graph
        return parse_request(body, graphs=self.catalog.names, fallback=fallback, pulse=pulse)
