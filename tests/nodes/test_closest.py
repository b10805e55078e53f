"""An answer that declines says which passage is closest to the question: `make_planner(closest_text=…)`."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, make_planner, make_retriever
from graph_agent.errors import ConfigurationError
from graph_agent.evaluating.scorers.answers import declined
from graph_agent.nodes.planner import requested_nodes
from graph_agent.testing import Call, ScriptedChatModel

pytestmark = pytest.mark.anyio

DECLINED = "The documents do not answer this."
CLOSEST = "Closest to it is {passage}."


class Shelf:
    """Finds these passages: title and score."""

    name = "search_docs"

    def __init__(self, *found: tuple[str, float | None]) -> None:
        self._found = found

    async def search(self, query: str) -> Sequence[tuple[Document, float | None]]:
        return [
            (
                Document(
                    f"About {title}.", metadata={"chunk_id": title, "doc_uri": f"docs/{place}.md", "title": title}
                ),
                score,
            )
            for place, (title, score) in enumerate(self._found)
        ]


async def asked(shelf: Shelf, says: str = "no", closest_text: str | None = CLOSEST) -> dict[str, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(AgentState)
    planner = make_planner(
        model=ScriptedChatModel(Call("search_docs", {"query": "port"}), "It is 8000 [1]."),
        tools=[],
        prompt="Search.",
        no_answer_text=DECLINED,
        closest_text=closest_text,
        answerability_model=ScriptedChatModel(says),
    )
    builder.add_node("planner", planner)
    builder.add_node("retriever", make_retriever(shelf))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"))
    builder.add_edge("retriever", "planner")
    return dict(await builder.compile().ainvoke({"messages": [HumanMessage("Which port?")]}))


@pytest.mark.parametrize("scores", [(0.7, 0.3), (0.3, 0.7), (None, None)], ids=["first", "second", "none"])
async def test_it_cites_the_passage_that_was_found_first(scores: tuple[float | None, float | None]) -> None:
    state = await asked(Shelf(("Settings > Ports", scores[0]), ("Hosts", scores[1])))
    answer = state["messages"][-1]
    text = "The documents do not answer this. Closest to it is Settings > Ports [1]."
    assert answer.text == text
    [citation] = answer.content[0]["annotations"]
    assert (citation["url"], text[citation["start_index"] : citation["end_index"]]) == ("docs/0.md", "[1]")
    assert [one["cited"] for one in state["custom_outputs"]["sources"]] == [True, False]


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Ports\n[2]  of a host", "Ports (2) of a host"),
        ("{passage} {0}", "{passage} {0}"),
        ("p" * 300, "p" * 100 + "…"),
    ],
    ids=["marker", "braces", "long"],
)
async def test_a_title_cites_nothing_and_is_short(title: str, shown: str) -> None:
    answer = (await asked(Shelf((title, 0.7), ("Logs", 0.3))))["messages"][-1]
    assert answer.text == f"The documents do not answer this. Closest to it is {shown} [1]."
    assert [one["url"] for one in answer.content[0]["annotations"]] == ["docs/0.md"]
    # Evaluations take it for an answer that declines.
    assert declined(answer.text)


@pytest.mark.parametrize(
    ("shelf", "says", "closest_text", "text"),
    [
        (Shelf(), "no", CLOSEST, DECLINED),
        (Shelf(("Ports", 0.7)), "no", None, DECLINED),
        (Shelf(("Ports", 0.7)), "yes", CLOSEST, "It is 8000 [1]."),
    ],
    ids=["nothing found", "not wanted", "answered"],
)
async def test_otherwise_nothing_is_added(shelf: Shelf, says: str, closest_text: str | None, text: str) -> None:
    assert (await asked(shelf, says, closest_text))["messages"][-1].text == text


@pytest.mark.parametrize("text", ["Closest to it is this.", "{passage} or {passage}"])
def test_a_text_without_one_place_for_the_passage_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"closest_text needs \{passage\} once"):
        make_planner(model=ScriptedChatModel("Yes."), tools=[], prompt="", no_answer_text=DECLINED, closest_text=text)
