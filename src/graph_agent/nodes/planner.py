"""The planner: the model decides whether to retrieve, to use tools, or to answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableConfig

from graph_agent.contract import AgentState, ListedTools, Source
from graph_agent.nodes.answerability import is_answerable
from graph_agent.nodes.citations import CheckedCitations, citations_in
from graph_agent.nodes.retrieval_messages import EMPTY_SEARCH, PASSAGES
from graph_agent.nodes.tool_errors import TOOL_FAULT
from graph_agent.nodes.tool_sources import available_tools
from graph_agent.tool_call_policy import with_unique_ids

Node = Callable[[AgentState, RunnableConfig], Awaitable[dict[str, Any]]]

MOST_QUERY = 1_000
"""Characters of a question that is searched for as it stands."""


def make_planner(
    *,
    model: BaseChatModel,
    tools: Sequence[Any],
    prompt: str,
    require_tool_first: bool | str = False,
    no_answer_text: str | None = None,
    tool_failed: str | None = None,
    answerability_model: BaseChatModel | None = None,
) -> Node:
    """A node that asks `model` what to do next, with `tools` to choose from.

    Its last message is the answer: citations in it are checked against `state["sources"]`, become annotations, and
    `custom_outputs["sources"]` lists what was retrieved. With `require_tool_first`, the first move of a turn is a tool
    call: a small model would rather answer from memory. With the name of a search as `require_tool_first` that search
    is part of the first move always, in the user's own words where the model did not ask for it, and nothing the model
    says before it is shown: what can be looked up is never answered from memory.

    With `no_answer_text`, a turn whose searches found nothing is answered with that sentence, and an answer that is
    that sentence cites nothing. With `answerability_model` too, that model is first asked whether the passages answer
    the question at all; see `is_answerable`. With `tool_failed`, a turn in which a tool of `make_tools` failed by a
    fault of its own is answered with that sentence: told of the fault, a small model says all the same that something
    was not found.

    Tool sources among `tools` are asked at each move what they have. What they miss is told to the model, and stands
    in `custom_outputs["warnings"]` beside the answer.
    """

    async def plan(state: AgentState, config: RunnableConfig) -> dict[str, Any]:
        sources = state.get("sources") or []
        results = _results_of_turn(state["messages"])
        if tool_failed is not None and any(TOOL_FAULT in result.additional_kwargs for result in results):
            return answer_update(AIMessage(tool_failed), sources, cites=False)
        if no_answer_text is not None and results and not await _worth_answering(state, results, answerability_model):
            return answer_update(AIMessage(no_answer_text), sources, cites=False)
        usable = await available_tools(tools)
        checked = CheckedCitations(model=model, numbers=tuple(source.number for source in sources))
        # A required choice among no tools is refused by model endpoints.
        looks = bool(require_tool_first and usable.tools and not results)
        choice = {"tool_choice": "required"} if looks else {}
        asked = checked.bind_tools(usable.tools, **choice) if usable.tools else checked
        request = [SystemMessage(_with_warnings(prompt, usable)), *state["messages"]]
        if looks and isinstance(require_tool_first, str):
            # A model need not heed `required`, and what is streamed cannot be taken back.
            said = with_search(
                await asked.ainvoke(request, {"tags": ["nostream"]}), require_tool_first, state["messages"]
            )
        else:
            said = await asked.ainvoke(request)
        if said.tool_calls:
            return {"messages": [with_unique_ids(said, state["messages"], config)]}
        answer = answer_update(said, sources, cites=said.text.strip() != no_answer_text)
        # Those of an earlier turn of the conversation must not outlive it.
        if usable.warnings or (state.get("custom_outputs") or {}).get("warnings"):
            answer["custom_outputs"]["warnings"] = list(usable.warnings)
        return answer

    return plan


def with_search(said: AIMessage, search: str, messages: Sequence[BaseMessage]) -> AIMessage:
    """The message `said` with a call of `search` among its calls: for the user's own words, where it has none."""
    question = next((one.text for one in reversed(messages) if isinstance(one, HumanMessage)), "").strip()
    if not question or any(call["name"] == search for call in said.tool_calls):
        return said
    looked = tool_call(name=search, args={"query": question[:MOST_QUERY]}, id=f"call_{uuid4().hex}")
    # Text of a message that called nothing is an answer from memory.
    content = said.content if said.tool_calls else ""
    return said.model_copy(update={"content": content, "tool_calls": [*said.tool_calls, looked]})


def _with_warnings(prompt: str, usable: ListedTools) -> str:
    return "\n\n".join([prompt, *usable.warnings])


async def _worth_answering(state: AgentState, results: Sequence[ToolMessage], check: BaseChatModel | None) -> bool:
    """False when searches were all that was done, and they found nothing that answers the question."""
    if all(result.content == EMPTY_SEARCH for result in results):
        return False
    searched = all(PASSAGES in result.additional_kwargs for result in results)
    if check is None or not searched:
        return True
    passages = "\n\n".join(str(result.content) for result in results)
    messages = state["messages"]
    asked = max(place for place, message in enumerate(messages) if isinstance(message, HumanMessage))
    return await is_answerable(messages[asked].text, passages, model=check, earlier=messages[:asked])


def requested_nodes(
    retrieval: str,
) -> Callable[[AgentState], list[Literal["retriever", "tools", "__end__"]]]:
    """A router: where the planner's calls go, both at once if it asked for both; the end if it asked for none."""

    def next_nodes(state: AgentState) -> list[Literal["retriever", "tools", "__end__"]]:
        names = {call["name"] for call in requested_calls(state["messages"])}
        wanted: list[Literal["retriever", "tools", "__end__"]] = []
        if retrieval in names:
            wanted.append("retriever")
        if names - {retrieval}:
            wanted.append("tools")
        return wanted or ["__end__"]

    return next_nodes


def requested_calls(messages: Sequence[BaseMessage]) -> list[Any]:
    """The tool calls of the planner's last message."""
    last = messages[-1] if messages else None
    return list(last.tool_calls) if isinstance(last, AIMessage) else []


def _results_of_turn(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """What tools and searches gave since the last question."""
    results: list[ToolMessage] = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, ToolMessage):
            results.append(message)
    return results


def answer_update(said: AIMessage, sources: Sequence[Source], *, cites: bool) -> dict[str, Any]:
    """The update of a node whose message `said` is the answer: annotations for what it cites, and the sources."""
    text = said.text
    citations = citations_in(text, sources) if cites else []
    annotations = [citation.annotation() for citation in citations]
    cited = {citation.source.number for citation in citations}
    listed = [
        {
            "number": source.number,
            "doc_uri": source.doc_uri,
            "chunk_id": source.chunk_id,
            "title": source.title,
            "score": source.score,
            "cited": source.number in cited,
        }
        for source in sources
    ]
    if annotations:
        block = {"type": "text", "text": text, "annotations": annotations}
        said = said.model_copy(update={"content": [block]})
    return {"messages": [said], "custom_outputs": {"sources": listed}}
