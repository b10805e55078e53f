"""Searches with the question itself, beside the planner's words: `make_retriever(with_question=True)`."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, make_planner, make_retriever
from graph_agent.errors import RetrievalFailed
from graph_agent.nodes.planner import requested_nodes
from graph_agent.testing import ScriptedChatModel

pytestmark = pytest.mark.anyio

Passage = tuple[Document, float]


def passage(chunk: str, text: str = "", document: str = "") -> Passage:
    metadata = {"chunk_id": chunk, "doc_uri": f"docs/{document or chunk}.md#{chunk}", "title": chunk}
    return Document(page_content=text or f"About {chunk}.", metadata=metadata), 0.9


class Shelf:
    """Passages by query. Any other query finds nothing, and one with `None` fails."""

    name = "search_docs"
    filterable = ("year",)

    def __init__(self, results: int, found: dict[str, list[Passage] | None]) -> None:
        self.results = results
        self._found = found
        self.queries: list[tuple[str, Any]] = []

    async def search(self, query: str, filters: Any = None) -> list[Passage]:
        return await self.candidates(query, filters, count=self.results)

    async def candidates(self, query: str, filters: Any = None, *, count: int) -> list[Passage]:
        self.queries.append((query, filters))
        found = self._found.get(query, [])
        if found is None:
            raise RetrievalFailed("the index could not be searched (ConnectError)")
        return found[:count]


def calls(*queries: str, **more: Any) -> AIMessage:
    return AIMessage(
        "",
        tool_calls=[
            {"id": f"c{number}", "name": "search_docs", "args": {"query": query, **more}}
            for number, query in enumerate(queries)
        ],
    )


async def answered(
    shelf: Shelf, question: str, *steps: AIMessage, before: Sequence[BaseMessage] = ()
) -> tuple[list[list[str]], dict[str, Any]]:
    """The ids of the passages that each call shows, and the final state."""
    model = ScriptedChatModel(*steps, "It is so [1].")
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Be brief."))
    builder.add_node("retriever", make_retriever(shelf, with_question=True))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"))
    builder.add_edge("retriever", "planner")
    state = await builder.compile().ainvoke({"messages": [*before, HumanMessage(question)]})
    chunks = {f"[{source.number}]": source.chunk_id for source in state["sources"]}
    results = [one.content for one in state["messages"] if isinstance(one, ToolMessage) and one.status == "success"]
    return [[chunks[line.split(" ")[0]] for line in text.split("\n\n") if line[:1] == "["] for text in results], state


async def test_the_question_finds_what_the_planners_words_do_not() -> None:
    question = "Why does the pump in the yard stop at night?"
    shelf = Shelf(2, {"pump": [passage("pumps"), passage("yards")], question: [passage("nights"), passage("pumps")]})
    shown, _ = await answered(shelf, question, calls("pump"))
    assert shown == [["pumps", "nights"]]


async def test_the_question_counts_more_than_what_the_planner_leaves_of_it() -> None:
    question = "Why does the pump in the yard stop at night?"
    shelf = Shelf(3, {"pump": [passage("pumps"), passage("yards")], question: [passage("nights"), passage("stops")]})
    shown, _ = await answered(shelf, question, calls("pump"))
    assert shown == [["nights", "stops", "pumps"]]


async def test_the_searches_of_a_planner_that_asks_for_several_count_as_much_as_the_question() -> None:
    question = "Which port do the pump and the fan of the yard use?"
    found = {"pump": [passage("pumps")], "fan": [passage("fans")], question: [passage("yards"), passage("ports")]}
    shown, _ = await answered(Shelf(4, found), question, calls("pump", "fan"))
    assert shown == [["pumps", "yards"], ["fans", "ports"]]


async def test_each_part_of_a_question_is_searched_and_three_passages_more_are_shown() -> None:
    first, second = "Which port does the pump use", "and which one does the fan use?"
    pumps = [passage(f"pump{number}", document="pumps") for number in range(9)]
    shelf = Shelf(4, {"ports": pumps, f"{first}, {second}": pumps, first: pumps, second: [passage("fans")]})
    shown, _ = await answered(shelf, f"{first}, {second}", calls("ports"))
    assert shown == [["pump0", "pump1", "fans", "pump2", "pump3", "pump4", "pump5"]]


async def test_what_only_a_part_of_a_question_finds_is_shown() -> None:
    first, second = "Which port does the pump use", "and which one does the fan use?"
    pumps = [passage(f"pump{number}") for number in range(9)]
    fans = [passage(f"fan{number}") for number in range(3)]
    shelf = Shelf(2, {"ports": pumps, f"{first}, {second}": pumps, f"{first},": pumps, first: pumps, second: fans})
    shown, _ = await answered(shelf, f"{first}, {second}", calls("ports"))
    assert shown == [["pump0", "pump1", "pump2", "fan0", "fan1"]]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Which port does the pump use", "and which one does the fan use?"),
        ("Wie laut ist die alte Pumpe", "und wie laut ist der neue Ventilator?"),
        ("Quel port utilise la pompe", "et quel port utilise le ventilateur ?"),
    ],
)
async def test_a_second_question_after_an_and_is_a_part_without_a_comma_too(first: str, second: str) -> None:
    pumps = [passage(f"pump{number}") for number in range(9)]
    question = f"{first} {second}"
    shelf = Shelf(2, {"pump": pumps, question: pumps, first: pumps, second: [passage("fan")]})
    shown, _ = await answered(shelf, question, calls("pump"))
    assert shown == [["pump0", "pump1", "pump2", "pump3", "fan"]]


async def test_an_and_within_a_question_makes_no_parts_of_it() -> None:
    question = "Do the valves and the pumps of the yard stop at night?"
    shelf = Shelf(2, {"valves": [passage("valves")]})
    await answered(shelf, question, calls("valves"))
    assert [query for query, _ in shelf.queries] == ["valves", question]


async def test_the_first_passage_of_each_part_comes_before_the_second_of_any() -> None:
    parts = ["How fast is the pump?", "How fast is the fan?", "How fast is the saw?"]
    pumps, fans, saws = ([passage(f"{name}{number}") for number in range(4)] for name in ("pump", "fan", "saw"))
    found = dict(zip(parts, (pumps, fans, saws), strict=True))
    shelf = Shelf(1, {"speed": pumps, " ".join(parts): pumps, **found})
    shown, _ = await answered(shelf, " ".join(parts), calls("speed"))
    assert shown == [["pump0", "pump1", "fan0", "saw0"]]


async def test_a_short_question_is_searched_together_with_the_one_it_leans_on() -> None:
    before = [HumanMessage("On which port does the pump listen?"), AIMessage("On 70.")]
    whole = "On which port does the pump listen? And the fan?"
    shelf = Shelf(5, {whole: [passage("fans")]})
    shown, _ = await answered(shelf, "And the fan?", calls("fan"), before=before)
    assert shown == [["fans"]]
    assert [query for query, _ in shelf.queries] == ["fan", whole]


async def test_a_long_question_stands_for_itself() -> None:
    question = "What is the largest number of revolutions that the fan in the yard may make?"
    shelf = Shelf(5, {question: [passage("fans")]})
    await answered(shelf, question, calls("fan"), before=[HumanMessage("Where is the pump?"), AIMessage("Here.")])
    assert [query for query, _ in shelf.queries] == ["fan", question]


async def test_searches_that_are_asked_for_at_once_share_the_passages_and_none_is_shown_twice() -> None:
    pumps = [passage(f"pump{number}", document=f"pump{number}") for number in range(6)]
    fans = [pumps[0], *(passage(f"fan{number}", document=f"fan{number}") for number in range(6))]
    shelf = Shelf(4, {"pump": pumps, "fan": fans})
    shown, _ = await answered(shelf, "Compare the pump with the fan", calls("pump", "fan"))
    assert shown == [["pump0", "pump1"], ["fan0", "fan1"]]


async def test_the_question_is_searched_once_in_a_turn() -> None:
    shelf = Shelf(5, {"pump": [passage("pumps")], "fan": [passage("fans")]})
    shown, _ = await answered(shelf, "What is it?", calls("pump"), calls("fan"))
    assert shown == [["pumps"], ["fans"]]
    assert [query for query, _ in shelf.queries] == ["pump", "What is it?", "fan"]


async def test_a_search_with_filters_is_made_as_the_model_narrowed_it() -> None:
    shelf = Shelf(5, {"pump": [passage("pumps")], "What is it?": [passage("others")]})
    filters = [{"key": "year", "value": 2020}]
    shown, _ = await answered(shelf, "What is it?", calls("pump", filters=filters))
    assert shown == [["pumps"]]
    assert shelf.queries == [("pump", filters)]


@pytest.mark.parametrize(
    ("pump", "how_fast", "place"),
    [("a", "old/b", "a"), ("old/a", "b", "b")],
    ids=["of the planner", "of the question"],
)
async def test_a_copy_that_another_query_finds_is_one_source_in_its_outermost_place_that_tells_both(
    pump: str, how_fast: str, place: str
) -> None:
    text = "The pump runs at forty bar and needs a new seal after two thousand hours of work in the yard."
    found = passage("a", text, document=pump), passage("b", text.upper(), document=how_fast)
    shelf = Shelf(5, {"pump": [found[0]], "How fast?": [found[1], passage("c")]})
    shown, state = await answered(shelf, "How fast?", calls("pump"))
    assert shown == [[place, "c"]]
    listed = [(one["doc_uri"], one.get("also_in")) for one in state["custom_outputs"]["sources"]]
    places = {document.metadata["doc_uri"] for document, _ in found}
    here = f"docs/{place}.md#{place}"
    assert listed == [(here, [*places - {here}]), ("docs/c.md#c", None)]


async def test_a_passage_that_says_nearly_the_same_does_not_replace_the_better_one() -> None:
    text = "The pump runs at forty bar and needs a new seal after two thousand hours of work in the yard."
    shelf = Shelf(5, {"pump": [passage("a", text, document="old/a"), passage("b", f"{text} Copied.")]})
    shown, state = await answered(shelf, "How fast?", calls("pump"))
    assert shown == [["a"]]
    assert state["custom_outputs"]["sources"][0]["also_in"] == ["docs/b.md#b"]


async def test_a_failed_search_for_the_question_is_logged_and_leaves_what_the_planner_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shelf = Shelf(5, {"pump": [passage("pumps")], "What is it?": None})
    with caplog.at_level(logging.WARNING, logger="graph_agent"):
        shown, _ = await answered(shelf, "What is it?", calls("pump"))
    assert shown == [["pumps"]]
    assert "a search of search_docs for the question failed" in caplog.text


async def test_a_planners_search_that_fails_ends_the_run_though_the_question_found_something() -> None:
    shelf = Shelf(5, {"pump": None, "What is it?": [passage("pumps")]})
    with pytest.raises(RetrievalFailed):
        await answered(shelf, "What is it?", calls("pump"))
