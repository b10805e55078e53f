"""What the service needs from a set of graphs, loaded from `langgraph.json` or built by the host's code."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from graph_agent.catalog.cards import GraphCard
from graph_agent.errors import GraphNotLoaded


class ServedGraphs(Protocol):
    """The graphs of one app. `Catalog` loads them from files; `BuiltGraphs` gets them from code."""

    @property
    def default(self) -> str:
        """The name of the graph that answers when a request names none."""

    @property
    def names(self) -> Sequence[str]:
        """The name of every graph, in order."""

    @property
    def cards(self) -> Mapping[str, GraphCard]:
        """The name of every graph with what people are told about it, in order."""

    @property
    def broken(self) -> Mapping[str, GraphNotLoaded]:
        """Graphs that did not load, with the reason."""

    async def open(self) -> None:
        """Load every graph."""

    async def refresh(self) -> None:
        """Apply edits to the list of graphs."""

    async def warm(self, *, seconds: float) -> None:
        """Do the work that the first run of each graph would otherwise wait for, within that time."""

    def compaction_model(self, name: str) -> str | None:
        """The model that summarizes long conversations with this graph. `None`: the default model."""

    async def get(self, name: str | None) -> Any:
        """The graph with that name, or the default graph for `None`."""

    async def aclose(self) -> None:
        """Release what the graphs hold."""
