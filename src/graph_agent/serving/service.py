"""What the routes need to start runs. This module imports LangChain, so the app imports it in a thread."""

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
    """The graphs, the settings, and the tracer: everything that turns a request into a run."""

    app: AppContext
    """The settings and clients of every run."""

    catalog: ServedGraphs
    tracer: "Tracer | None"

    def parse(self, body: bytes, dialect: Dialect, *, pulse: Pulse = no_pulse) -> Invocation:
        """Parse a request's body. `pulse` is called between the steps, so that a thread can give way or stop.

        Raises:
            InvalidRequest: the request is wrong, or one of its subclasses; `param` names the field.
        """
        fallback = self.catalog.default if dialect.any_model else self.app.settings.fallback_graph
        return parse_request(body, graphs=self.catalog.names, fallback=fallback, pulse=pulse)
