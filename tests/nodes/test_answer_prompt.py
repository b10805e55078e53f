"""Answers from passages alone: `make_planner(answerability_model=…, answer_prompt=…)`."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, make_planner, make_retriever, make_tools
from graph_agent.nodes.planner import requested_nodes
from graph_agent.testing import Call, ScriptedChatModel

pytestmark = pytest.mark.anyio

SEARCH = Call("search_docs", {"query": "port"}, id="c1")
TASK = "Use this to answer, and cite it."


class Shelf:
    """Finds one passage."""

    name = "search_docs"

    async def search(self, query: str) -> list[tuple[Document, float]]:
        metadata = {"chunk_id": "p", "doc_uri": "docs/p.md", "title": "Ports"}
        return [(Document("The port is {8000}.", metadata=metadata), 0.9)]


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


async def asked(model: ScriptedChatModel, *messages: BaseMessage | str) -> dict[str, Any]:
    """The final state."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(AgentState)
    builder.add_node(
        "planner",
        make_planner(
            model=model,
            tools=[add],
            prompt="Use tools.",
            no_answer_text="I do not know.",
            answerability_model=model,
            answer_prompt=TASK,
        ),
    )
    builder.add_node("retriever", make_retriever(Shelf()))
    builder.add_node("tools", make_tools([add], skip=["search_docs"]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"))
    builder.add_edge("retriever", "planner")
    builder.add_edge("tools", "planner")
    said = [HumanMessage(one) if isinstance(one, str) else one for one in messages]
    return dict(await builder.compile().ainvoke({"messages": said}))


def texts(model: ScriptedChatModel, number: int) -> Sequence[str]:
    return [message.text for message in model.requests[number].messages]


async def test_check_and_answer_begin_alike_up_to_the_question_and_the_answer_gets_no_tools() -> None:
    model = ScriptedChatModel(SEARCH, "yes", "It is 8000 [1].")
    state = await asked(model, "Which port?")
    assert state["messages"][-1].content[0]["annotations"][0]["url"] == "docs/p.md"
    (role, check), (same_role, answer) = texts(model, 1), texts(model, 2)
    assert role == same_role
    both = "Passages:\n[1] The port is {8000}.\n\nQuestion: Which port?\n"
    assert check.startswith(both)
    assert answer.startswith(both)
    assert answer == f"{both}{TASK}"
    assert model.requests[0].tools
    assert not model.requests[2].tools


async def test_passages_that_do_not_answer_are_declined_without_another_request() -> None:
    model = ScriptedChatModel(SEARCH, "no")
    state = await asked(model, "Which color?")
    assert state["messages"][-1].text == "I do not know."
    assert len(model.requests) == 2


async def test_the_answer_to_a_follow_up_knows_the_end_of_the_conversation() -> None:
    model = ScriptedChatModel(SEARCH, "yes", "8000 [1].")
    await asked(model, "Tell me of the pump.", AIMessage("It pumps."), "And its port?")
    assert "User: Tell me of the pump.\nAssistant: It pumps." in texts(model, 2)[0]


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage("Answer in French."), HumanMessage("Which port?")],
        [HumanMessage([{"type": "text", "text": "Which port?"}, {"type": "image", "url": "https://i.test/1.png"}])],
    ],
    ids=["instructions", "an image"],
)
async def test_what_the_short_prompt_would_lose_is_asked_with_the_whole_prompt(messages: list[BaseMessage]) -> None:
    model = ScriptedChatModel(SEARCH, "yes", "8000 [1].")
    await asked(model, *messages)
    assert texts(model, 2)[0] == "Use tools."
    assert model.requests[2].tools
    assert [one.content for one in messages] == [one.content for one in model.requests[2].messages[1:][: len(messages)]]


async def test_after_a_tool_the_model_keeps_its_tools_and_is_not_checked() -> None:
    model = ScriptedChatModel([SEARCH, Call("add", {"a": 1, "b": 2}, id="c2")], "3, at 8000 [1].")
    state = await asked(model, "What is 1 + 2, and which port?")
    assert state["messages"][-1].text == "3, at 8000 [1]."
    assert texts(model, 1)[0] == "Use tools."
    assert model.requests[1].tools
