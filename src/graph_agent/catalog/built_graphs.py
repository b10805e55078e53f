"""Graphs that a host app builds in code and passes to `create_app`."""

from collections.abc import Mapping
from typing import Any

from langgraph.pregel import Pregel

from graph_agent.catalog.cards import GraphCard
from graph_agent.catalog.servable import servable_graph
from graph_agent.errors import ConfigurationError, GraphNotLoaded, UnknownGraph

NO_GRAPHS = 'graphs must map at least one name to a graph, such as graphs={"assistant": builder.compile()}'


class BuiltGraphs:
    """Serves graph objects under the names that the host gave them. Nothing is loaded, so nothing is reloaded."""

    def __init__(self, graphs: Mapping[str, Any], *, default: str | None = None) -> None:
        """`default` is the graph for requests that name none, or `None` for the first one.

        Raises:
            ConfigurationError: there is no graph, or a name is not a non-empty string.
            GraphNotLoaded: one of them cannot be served; the message says what to change.
            UnknownGraph: there is no graph named `default`.
        """
        if not graphs or not all(isinstance(name, str) and name for name in graphs):
            raise ConfigurationError(NO_GRAPHS, param="graphs")
        if default is not None and default not in graphs:
            raise UnknownGraph(f"no graph named {default!r}; known: {', '.join(graphs)}", param="graph")
        self._graphs: dict[str, Pregel[Any, Any, Any, Any]] = {
            name: servable_graph(graph, name=name, variable=f"graphs[{name!r}]") for name, graph in graphs.items()
        }
        self.default = default or next(iter(self._graphs))

    @property
    def names(self) -> list[str]:
        """The name of every graph, in the order of the mapping."""
        return list(self._graphs)

    @property
    def cards(self) -> Mapping[str, GraphCard]:
        """The name of every graph. Nothing is known to tell people about graphs built in code."""
        return dict.fromkeys(self._graphs, GraphCard())

    @property
    def broken(self) -> Mapping[str, GraphNotLoaded]:
        """Always empty: a graph that cannot be served is refused by the constructor."""
        return {}

    async def open(self) -> None:
        """Does nothing: the graphs exist."""

    async def refresh(self) -> None:
        """Does nothing: the host decides which graphs there are."""

    async def warm(self, *, seconds: float) -> None:
        """Does nothing: the host's code knows what its graphs use."""

    async def aclose(self) -> None:
        """Does nothing: the host owns the graphs."""

    def compaction_model(self, name: str) -> str | None:
        """Always `None`: the default model summarizes conversations with graphs built in code."""
        return None

    async def get(self, name: str | None) -> Pregel[Any, Any, Any, Any]:
        """The graph with that name, or the default graph for `None`.

        Raises:
            UnknownGraph: there is no such graph.
        """
        graph = self._graphs.get(name or self.default)
        if graph is None:
            raise UnknownGraph(f"no graph named {name!r}; known: {', '.join(self._graphs)}", param="model")
        return graph
