"""Where runs get their graphs from."""

from typing import Any, Protocol


class Graphs(Protocol):
    """The source of graphs. The catalog implements it."""

    @property
    def default(self) -> str:
        """The name of the graph that answers when a request names none."""

    def compaction_model(self, name: str) -> str | None:
        """The model that summarizes long conversations with this graph. `None`: the default model."""

    async def get(self, name: str) -> Any:
        """The compiled graph with that name."""
