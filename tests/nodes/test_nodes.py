"""The planner, retriever and tools nodes, wired as the flagship wires them, on a scripted model."""

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import ToolException, tool
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, Source, make_planner, make_retriever, make_tools
from graph_agent.contract import ListedTools
from graph_agent.errors import RetrievalFailed, Unauthenticated
from graph_agent.nodes.langchain_retriever import Columns, RetrieverSearch
from graph_agent.nodes.planner import answer_update, requested_nodes
from graph_agent.nodes.tool_errors import FAULT, MISTAKE
from graph_agent.nodes.tool_sources import available_tools
from graph_agent.testing import ScriptedChatModel
from graph_agent.tracing import RunRecorder

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-planted"


def calls(*requests: tuple[str, str, dict[str, Any]]) -> AIMessage:
    return AIMessage("", tool_calls=[{"id": i, "name": name, "args": args} for i, name, args in requests])


class Shelf:
    """Passages by query; a query that is missing fails."""

    name = "search_docs"

    def __init__(self, **found: list[tuple[Document, float]]) -> None:
        self._found = found

    async def search(self, query: str) -> list[tuple[Document, float]]:
        if query not in self._found:
            raise RetrievalFailed("the index could not be searched (ConnectError)")
        return self._found[query]


class FilteredShelf(Shelf):
    """A shelf whose model may filter; keeps the filters it was given."""

    filterable = ("year",)

    def __init__(self, **found: list[tuple[Document, float]]) -> None:
        super().__init__(**found)
        self.filters: list[Any] = []

    async def search(self, query: str, filters: Any = None) -> list[tuple[Document, float]]:
        self.filters.append(filters)
        if filters == "nonsense":
            raise ToolException("filters must be a list.")
        return await super().search(query)


class Wiki(BaseRetriever):
    """Somebody's retriever, with names of its own; the query decides how it fares."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        if query == "broken":
            raise ValueError(f"postgres://u:{PASSWORD}@db")
        page = {"page": "W1", "link": "https://wiki/w1", "headline": "Ports", "body": "The port is 8000.", "score": 0.7}
        return [Document("about ports", metadata=page)]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        if query == "endless":
            await anyio.sleep_forever()
        return self._get_relevant_documents(query, run_manager=run_manager.get_sync())


WIKI = Columns(text="body", doc_uri="link", chunk_id="page", title="headline")


def passage(chunk: str, text: str, score: float = 0.9) -> tuple[Document, float]:
    metadata = {"chunk_id": chunk, "doc_uri": f"docs/{chunk}.md", "title": chunk}
    return Document(page_content=text, metadata=metadata), score


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
def leaky(x: int) -> int:
    """Fails with a secret in its message."""
    raise ValueError(f"postgres://u:{PASSWORD}@db")


@tool
def helpful(x: int) -> int:
    """Fails with advice."""
    raise ToolException("x must be positive")


@tool
async def endless(x: int) -> int:
    """Never ends."""
    await anyio.sleep_forever()
    return x


TOOLS = [add, leaky, helpful, endless]


def graph_of(
    model: ScriptedChatModel, shelf: Shelf, check: ScriptedChatModel | None = None, node: Any = None, **retriever: Any
) -> Any:
    builder = StateGraph(AgentState)
    planner = make_planner(
        model=model, tools=[*TOOLS], prompt="Be brief.", no_answer_text="I do not know.", answerability_model=check
    )
    builder.add_node("planner", planner)
    builder.add_node("retriever", node or make_retriever(shelf, **retriever))
    builder.add_node("tools", make_tools(TOOLS, skip=[shelf.name], seconds=0.2))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval=shelf.name))
    builder.add_edge("retriever", "planner")
    builder.add_edge("tools", "planner")
    return builder.compile()


async def run(
    model: ScriptedChatModel, shelf: Shelf, messages: Sequence[BaseMessage] = (), **retriever: Any
) -> dict[str, Any]:
    with anyio.fail_after(20):
        asked = [*messages, HumanMessage("question")]
        return dict(await graph_of(model, shelf, **retriever).ainvoke({"messages": asked}))


async def test_searches_and_tools_of_one_turn_run_at_once_and_the_answer_cites_a_numbered_passage() -> None:
    asked = calls(
        ("c1", "search_docs", {"query": "port"}),
        ("c2", "add", {"a": 2, "b": 3}),
        ("c3", "search_docs", {"query": "host"}),
    )
    model = ScriptedChatModel(asked, "Port 8000 [1], host local [2].")
    shelf = Shelf(port=[passage("p", "The port is 8000.")], host=[passage("h", "local"), passage("p", "8000.")])

    state = await run(model, shelf)

    results = {m.tool_call_id: m.content for m in state["messages"] if isinstance(m, ToolMessage)}
    assert results == {"c1": "[1] The port is 8000.", "c2": "5", "c3": "[2] local\n\n[1] The port is 8000."}
    assert [(s.number, s.chunk_id) for s in state["sources"]] == [(1, "p"), (2, "h")]
    block = state["messages"][-1].content[0]
    assert [annotation["url"] for annotation in block["annotations"]] == ["docs/p.md", "docs/h.md"]
    assert [source["cited"] for source in state["custom_outputs"]["sources"]] == [True, True]
    assert [source["text"] for source in state["custom_outputs"]["sources"]] == ["The port is 8000.", "local"]


@pytest.mark.parametrize(("asks_tool", "cited"), [(False, True), (True, False)])
async def test_an_answer_without_markers_is_credited_to_no_passage_if_a_tool_of_the_turn_gave_it(
    asks_tool: bool, cited: bool
) -> None:
    asked = [("c1", "search_docs", {"query": "port"})]
    if asks_tool:
        asked.append(("c2", "add", {"a": 7_999, "b": 1}))
    model = ScriptedChatModel(calls(*asked), "The default port is 8000.")
    state = await run(model, Shelf(port=[passage("p", "The default port is 8000.")]))
    assert [source["cited"] for source in state["custom_outputs"]["sources"]] == [cited]


async def test_only_cited_passages_are_kept_with_the_answer_short_and_without_secrets() -> None:
    secret = "dapi" + "0123456789abcdef" * 2
    sources = [
        Source(number=number, doc_uri="u", chunk_id=str(number), title="t", text="x " * 990 + secret + " y" * 9_000)
        for number in (1, 2)
    ]
    update = answer_update(AIMessage("It is so [2]."), sources, cites=True)
    other, cited = update["custom_outputs"]["sources"]
    assert "text" not in other
    assert len(cited["text"]) == 2_000
    assert secret[:8] not in cited["text"]


async def test_a_search_that_finds_nothing_is_answered_without_asking_the_model_again() -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "price"})))
    state = await run(model, Shelf(price=[passage("p", "off topic", score=0.1)]), min_score=0.5)
    assert state["messages"][-1].content == "I do not know."
    assert len(model.requests) == 1
    assert state["custom_outputs"]["sources"] == []


@pytest.mark.parametrize(("verdict", "answer"), [("No.", "I do not know."), ("yes", "8000 [1]"), ("Hm", "8000 [1]")])
async def test_passages_that_do_not_answer_the_question_are_declined_before_anything_is_written(
    verdict: str, answer: str
) -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})), "8000 [1]")
    check = ScriptedChatModel(verdict)
    state = await run(model, Shelf(port=[passage("p", "The port is 8000.")]), check=check)
    assert state["messages"][-1].text == answer
    request = check.requests[0].messages[-1].text
    assert "[1] The port is 8000." in request
    assert "question" in request


async def test_a_follow_up_question_is_judged_with_the_conversation_before_it() -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})), "8000 [1]")
    check = ScriptedChatModel("yes")
    call = calls(("c0", "search_docs", {"query": "host"}))
    before = [
        HumanMessage("What is the service's address?"),
        call,
        ToolMessage("[1] a passage of the turn before", tool_call_id="c0"),
        AIMessage("It binds " + "127.0.0.1 " * 200),
    ]
    await run(model, Shelf(port=[passage("p", "The port is 8000.")]), before, check=check)
    role, request = (message.text for message in check.requests[0].messages)
    assert "User: What is the service's address?\nAssistant: It binds 127.0.0.1" in role
    assert "a passage of the turn before" not in role
    assert len(role) < 1000
    assert "\n\nQuestion: question\n" in request


async def test_of_a_long_conversation_the_check_is_told_the_last_of_it_and_of_none_nothing() -> None:
    long: list[BaseMessage] = []
    for number in range(200):
        long += [HumanMessage(f"Question {number}. " + "x" * 5000), AIMessage(f"Answer {number}.")]
    for before in (long, []):
        model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})), "8000 [1]")
        check = ScriptedChatModel("yes")
        await run(model, Shelf(port=[passage("p", "The port is 8000.")]), before, check=check)
        role = check.requests[0].messages[0].text
        assert len(role) < 3000
        assert ("Question 199." in role, "Question 196." in role) == (bool(before), False)
        assert ("conversation" in role) == bool(before)


async def test_an_answer_from_tools_is_not_checked_against_passages() -> None:
    model = ScriptedChatModel(calls(("c1", "add", {"a": 2, "b": 3})), "5")
    check = ScriptedChatModel("no")
    state = await run(model, Shelf(), check=check)
    assert (state["messages"][-1].text, check.requests) == ("5", [])


async def test_a_failed_search_beside_a_good_one_is_told_to_the_planner() -> None:
    model = ScriptedChatModel(
        calls(("c1", "search_docs", {"query": "gone"}), ("c2", "search_docs", {"query": "port"})),
        "8000 [1]",
    )
    state = await run(model, Shelf(port=[passage("p", "8000")]))
    failed = next(m for m in state["messages"] if isinstance(m, ToolMessage) and m.tool_call_id == "c1")
    assert (failed.status, failed.content) == (
        "error",
        f"the index could not be searched (ConnectError)\n{FAULT}",
    )


async def test_a_failed_search_beside_a_good_one_is_logged_and_has_a_span(caplog: pytest.LogCaptureFixture) -> None:
    wanted = calls(("c1", "search_docs", {"query": "gone"}), ("c2", "search_docs", {"query": "port"}))
    model = ScriptedChatModel(wanted, "8000 [1]")
    recorder = RunRecorder(graph="test", inputs={})
    graph = graph_of(model, Shelf(port=[passage("p", "8000")]))
    await graph.ainvoke({"messages": [HumanMessage("question")]}, {"callbacks": [recorder]})
    spans = {span.inputs["query"]: span.error for span in recorder.spans if span.kind == "RETRIEVER"}
    assert spans == {"gone": "RetrievalFailed", "port": None}
    assert [line for line in caplog.messages if line.startswith("search search_docs failed: RetrievalFailed at ")]


async def test_when_every_search_fails_the_run_fails_instead_of_inventing() -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "gone"})))
    with pytest.raises(RetrievalFailed):
        await run(model, Shelf())


async def test_filters_of_a_call_reach_a_search_that_takes_them() -> None:
    filters = [{"key": "year", "value": 2024}]
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port", "filters": filters})), "8000 [1]")
    shelf = FilteredShelf(port=[passage("p", "8000")])
    await run(model, shelf)
    assert shelf.filters == [filters]


@pytest.mark.parametrize(
    ("shelf", "args", "told"),
    [
        (FilteredShelf(), {"query": "port", "filters": "nonsense"}, "filters must be a list."),
        (
            Shelf(port=[]),
            {"query": "port", "filters": [1]},
            "this search takes no filters: call it with a query alone.",
        ),
        (Shelf(), {"query": " "}, "the call needs a query: words to look for."),
        (Shelf(), {}, "the call needs a query: words to look for."),
    ],
)
async def test_arguments_a_search_cannot_use_are_told_to_the_planner_and_fail_nothing(
    shelf: Shelf, args: dict[str, Any], told: str
) -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", args)), "Let me try again.")
    state = await run(model, shelf)
    message = next(m for m in state["messages"] if isinstance(m, ToolMessage))
    assert (message.status, message.content) == ("error", f"{told}\n{MISTAKE}")


@pytest.mark.parametrize(
    "retriever",
    [
        make_retriever(Wiki(), columns=WIKI),
        make_retriever(RetrieverSearch(retriever=Wiki(), columns=WIKI)),
        make_retriever(RetrieverSearch(retriever=Wiki()), columns=WIKI),
    ],
)
async def test_any_retriever_with_any_names_gives_the_same_span_and_citations(retriever: Any) -> None:
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})), "8000 [1]")
    recorder = RunRecorder(graph="test", inputs={})
    graph = graph_of(model, Shelf(), node=retriever)
    state = await graph.ainvoke({"messages": [HumanMessage("question")]}, {"callbacks": [recorder]})

    [source] = state["sources"]
    assert source == Source(
        number=1, doc_uri="https://wiki/w1", chunk_id="W1", title="Ports", text="The port is 8000.", score=0.7
    )
    [annotation] = state["messages"][-1].content[0]["annotations"]
    assert (annotation["url"], annotation["title"]) == ("https://wiki/w1", "Ports")
    # One span, so that no judge counts the documents twice.
    [span] = [span for span in recorder.spans if span.kind == "RETRIEVER"]
    assert (span.name, span.inputs) == ("search_docs", {"query": "port"})
    metadata = {"doc_uri": "https://wiki/w1", "chunk_id": "W1", "title": "Ports", "score": 0.7}
    assert span.outputs == [Document("The port is 8000.", metadata=metadata)]


@pytest.mark.parametrize(
    ("query", "told"),
    [("broken", "search_docs failed (ValueError)"), ("endless", "search_docs did not answer within 0.2 s")],
)
async def test_a_retriever_that_fails_or_hangs_is_a_typed_error_without_its_text(query: str, told: str) -> None:
    search = RetrieverSearch(retriever=Wiki(), seconds=0.2)
    with anyio.fail_after(20), pytest.raises(RetrievalFailed) as failed:
        await search.search(query)
    assert failed.value.message == told


async def test_a_missing_identity_ends_the_run_as_what_it_is() -> None:
    class Locked(Shelf):
        async def search(self, query: str) -> Any:
            raise Unauthenticated("no token")

    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})))
    with pytest.raises(Unauthenticated):
        await run(model, Locked())


async def test_a_resent_history_does_not_make_one_number_mean_two_passages() -> None:
    earlier = [
        HumanMessage("before"),
        calls(("c0", "search_docs", {"query": "x"})),
        ToolMessage("[1] old\n\n[2] older", tool_call_id="c0"),
        AIMessage("Old [1]."),
    ]
    model = ScriptedChatModel(calls(("c1", "search_docs", {"query": "port"})), "8000 [3], not [1].")
    state = await run(model, Shelf(port=[passage("p", "8000")]), earlier)
    assert [s.number for s in state["sources"]] == [3]
    assert state["messages"][-1].text == "8000 [3], not."


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("leaky", {"x": 1}, f"leaky failed (ValueError).\n{FAULT}"),
        ("helpful", {"x": 1}, "helpful: x must be positive"),
        ("endless", {"x": 1}, f"endless did not finish within 0.2 s.\n{FAULT}"),
        (
            "add",
            {"a": "two", "b": 3},
            "add was called with wrong arguments: a (Input should be a valid integer, unable to parse string as an "
            f"integer).\n{MISTAKE}",
        ),
        ("missing", {}, "There is no tool named 'missing'; there are: add, leaky, helpful, endless."),
    ],
)
async def test_a_failing_tool_becomes_a_message_the_planner_can_act_on(
    name: str, args: dict[str, Any], told: str
) -> None:
    model = ScriptedChatModel(calls(("c1", name, args)), "Sorry.")
    state = await run(model, Shelf())
    message = next(m for m in state["messages"] if isinstance(m, ToolMessage))
    assert (message.status, message.content) == ("error", told)
    assert PASSWORD not in str(state["messages"])
    assert state["messages"][-1].text == "Sorry."


@pytest.mark.parametrize(
    ("name", "args", "answer"),
    [
        ("leaky", {"x": 1}, "It is out of order."),
        ("endless", {"x": 1}, "It is out of order."),
        # The model's own mistake, and what the tool says to it, are for the model to act on.
        ("add", {"a": "two", "b": 3}, "It was not found."),
        ("helpful", {"x": 1}, "It was not found."),
        ("add", {"a": 2, "b": 3}, "It was not found."),
    ],
)
async def test_a_tool_that_is_out_of_order_is_answered_in_words_that_no_model_chooses(
    name: str, args: dict[str, Any], answer: str
) -> None:
    model = ScriptedChatModel(calls(("c1", name, args)), "It was not found.")
    builder = StateGraph(AgentState)
    builder.add_node(
        "planner", make_planner(model=model, tools=TOOLS, prompt="Be brief.", tool_failed="It is out of order.")
    )
    builder.add_node("tools", make_tools(TOOLS, seconds=0.2))
    builder.add_edge(START, "planner").add_edge("tools", "planner")
    builder.add_conditional_edges("planner", requested_nodes(retrieval="none"))
    earlier = [HumanMessage("before"), AIMessage("Hello.")]
    state = await builder.compile().ainvoke({"messages": [*earlier, HumanMessage("question")]})  # type: ignore[arg-type]
    assert state["messages"][-1].text == answer


async def test_tools_of_one_turn_wait_for_each_other_no_more_than_they_must() -> None:
    both = asyncio.Barrier(2)

    @tool
    async def meet(x: int) -> str:
        """Returns once both calls are under way."""
        await both.wait()
        return "met"

    node = make_tools([meet])
    with anyio.fail_after(20):
        state: Any = {"messages": [calls(("c1", "meet", {"x": 1}), ("c2", "meet", {"x": 2}))]}
        update = await node(state, {})
    assert [message.content for message in update["messages"]] == ["met", "met"]


class Slow:
    """Work that another ends: it waits until the test is over, and says whether it was left to."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = False

    async def works(self) -> None:
        self.begun.set()
        try:
            await anyio.sleep(60)
        finally:
            # Ends in its own time: the run is to wait for it.
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            self.ended = True


async def test_a_run_that_ends_for_want_of_an_identity_leaves_none_of_its_tools_running() -> None:
    writing = Slow()

    @tool
    async def write(x: int) -> str:
        """Would write."""
        await writing.works()
        return "written"

    @tool
    async def locked(x: int) -> str:
        """Needs somebody."""
        await writing.begun.wait()
        raise Unauthenticated("sign in")

    node = make_tools([write, locked])
    state: Any = {"messages": [calls(("c1", "write", {"x": 1}), ("c2", "locked", {"x": 2}))]}
    with anyio.fail_after(20), pytest.raises(Unauthenticated):
        await node(state, {})
    assert writing.ended


async def test_a_run_that_ends_for_want_of_an_identity_leaves_none_of_its_searches_running() -> None:
    searching = Slow()

    class Locked(Shelf):
        async def search(self, query: str) -> Any:
            if query == "slow":
                await searching.works()
            await searching.begun.wait()
            raise Unauthenticated("sign in")

    node = make_retriever(Locked())
    wanted = [(query, "search_docs", {"query": query}) for query in ("slow", "locked")]
    with anyio.fail_after(20), pytest.raises(Unauthenticated):
        await node({"messages": [calls(*wanted)]}, {})  # type: ignore[typeddict-item]
    assert searching.ended


async def test_a_source_that_wants_an_identity_leaves_no_other_being_asked() -> None:
    listing = Slow()

    class Source:
        def __init__(self, locked: bool) -> None:
            self.locked = locked

        async def tools(self) -> ListedTools:
            if not self.locked:
                await listing.works()
            await listing.begun.wait()
            raise Unauthenticated("sign in")

    with anyio.fail_after(20), pytest.raises(Unauthenticated):
        await available_tools([Source(locked=False), Source(locked=True)])
    assert listing.ended
