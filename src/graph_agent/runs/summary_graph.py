"""The graph that summarizes a history. The compaction of a request is a run of it, with the limits of any run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph

from graph_agent.runs.summarizing import summarize

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

NOSTREAM = "nostream"
"""LangGraph's tag for model calls of which nothing is streamed: they may be several."""


class SummaryGraph:
    """Where the run of one compaction gets its graph from: it takes the place of the graph of that name."""

    def __init__(self, name: str, model: "BaseChatModel", *, instructions: str | None) -> None:
        self.default = name
        self._model = model
        self._instructions = instructions

    async def get(self, name: str) -> Any:
        """See `Graphs.get`."""

        async def summarized(state: MessagesState, config: RunnableConfig) -> dict[str, Sequence[AIMessage]]:
            asking: RunnableConfig = {**config, "tags": [*(config.get("tags") or ()), NOSTREAM]}
            summary = await summarize(
                state["messages"], model=self._model, instructions=self._instructions, config=asking
            )
            return {"messages": [AIMessage(summary)]}

        builder = StateGraph(MessagesState)
        builder.add_node("compaction", summarized)
        return builder.add_edge(START, "compaction").add_edge("compaction", END).compile()

    def compaction_model(self, name: str) -> str | None:
        """See `Graphs.compaction_model`. It is not asked."""
        return None
