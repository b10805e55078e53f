"""The type of the nodes that this package makes."""

from collections.abc import Awaitable
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig

from graph_agent.contract import NodeState


class Node(Protocol):
    """A node for `StateGraph.add_node`.

    A protocol and not a `Callable`: LangGraph's types match nodes by the names of their parameters, which a `Callable`
    does not have.
    """

    def __call__(self, state: NodeState, config: RunnableConfig) -> Awaitable[dict[str, Any]]:
        """The update of the state."""
