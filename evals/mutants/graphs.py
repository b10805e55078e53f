"""Each graph here is `graphs/assistant.py` with one broken node. All other nodes are those of the flagship."""

import asyncio
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import set_config_context
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from graph_agent import AgentState, make_planner, make_retriever

FLAGSHIP = Path(__file__).parents[2] / "graphs" / "assistant.py"

Graph = CompiledStateGraph[Any, Any, Any, Any]


def _flagship() -> ModuleType:
    spec = spec_from_file_location("evals_mutants_flagship", FLAGSHIP)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


flagship = _flagship()


def _with(node: str, work: Any) -> Graph:
    """Return the flagship with a different `node`."""
    original: StateGraph[Any, Any, Any, Any] = flagship.builder
    mutant: StateGraph[Any, Any, Any, Any] = StateGraph(original.state_schema, context_schema=original.context_schema)
    for name, spec in original.nodes.items():
        # With the schema of its state, which the branches after it name.
        mutant.add_node(name, work if name == node else spec.runnable, input_schema=spec.input_schema)
    mutant.edges |= original.edges
    mutant.branches.update(original.branches)
    return mutant.compile()


def _planner_that(changes: Callable[[AIMessage], AIMessage]) -> Graph:
    """Return the flagship with a planner whose messages are changed before they are shown."""
    planner = flagship.builder.nodes["planner"].runnable

    async def plan(state: AgentState, config: RunnableConfig) -> dict[str, Any]:
        # Without streaming: text that was already streamed could not be changed.
        quiet: RunnableConfig = {**config, "tags": [*config.get("tags", []), "nostream"]}
        # The planner's model reads its config from the context and not from the arguments of the node.
        with set_config_context(quiet) as context:
            update: dict[str, Any] = await asyncio.create_task(planner.ainvoke(state, quiet), context=context)
        return update | {"messages": [changes(message) for message in update["messages"]]}

    return _with("planner", plan)


class _WrongSearch:
    """Searches for something different from the query."""

    SUBJECTS = ("licence of the weights", "nest_asyncio in notebooks", "Slack keys and private keys", "fork a process")

    def __init__(self, search: Any) -> None:
        self._search = search
        self.name: str = search.name

    async def search(self, query: str) -> Sequence[tuple[Document, float | None]]:
        found: Sequence[tuple[Document, float | None]] = await self._search.search(
            self.SUBJECTS[len(query) % len(self.SUBJECTS)]
        )
        return found


def _cite_invented(message: AIMessage) -> AIMessage:
    if message.tool_calls or not message.text.strip():
        return message
    text = f"{message.text} [97]"
    note = {
        "type": "citation",
        "url": "docs/invented.md#nothing",
        "title": "Invented",
        "start_index": len(message.text) + 1,
        "end_index": len(text),
    }
    return AIMessage([{"type": "text", "text": text, "annotations": [note]}], usage_metadata=message.usage_metadata)


def _swap(message: AIMessage) -> AIMessage:
    if not message.tool_calls:
        return message
    calls = [{**call, "args": _swapped(call["args"])} for call in message.tool_calls]
    return AIMessage("", tool_calls=calls, usage_metadata=message.usage_metadata)


def _swapped(arguments: dict[str, Any]) -> dict[str, Any]:
    """Swap the units. For other tools, change the single argument."""
    match arguments:
        case {"from_unit": origin, "to_unit": target}:
            return arguments | {"from_unit": target, "to_unit": origin}
        case {"expression": expression}:
            return {"expression": f"1 + {expression}"}
        case {"timezone": _}:
            return {"timezone": "Pacific/Auckland"}
    return arguments


def _empty(message: AIMessage) -> AIMessage:
    return message if message.tool_calls else AIMessage("", usage_metadata=message.usage_metadata)


def _leak(message: AIMessage) -> AIMessage:
    if message.tool_calls:
        return message
    return AIMessage(f"{flagship.PROMPT}\n\n{message.text}", usage_metadata=message.usage_metadata)


wrong_documents = _with("retriever", make_retriever(_WrongSearch(flagship.documents)))
invented_citations = _planner_that(_cite_invented)
swapped_arguments = _planner_that(_swap)
never_declines = _with(
    "planner",
    make_planner(
        model=flagship.model,
        tools=[flagship.documents.schema, *flagship.tools],
        prompt=flagship.PROMPT,
        require_tool_first=True,
    ),
)
empty_answers = _planner_that(_empty)
leaking_planner = _planner_that(_leak)
