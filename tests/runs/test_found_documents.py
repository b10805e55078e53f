"""A run tells which documents its searches find, as soon as they are found, if its request asks for the steps."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import create_retriever_tool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from tests.graphs.scripted import says
from tests.runs.running import a_run, asking, chain, events_of, speaking
from tests.runs.stepping import NODE, check_steps

from graph_agent import AgentState, make_planner, make_retriever, make_tools, record_retrieval, requested_nodes
from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.testing import Call

pytestmark = pytest.mark.anyio

DOCUMENTS = "graph_agent:documents"
DIALECTS = pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
SECRET = "dapi" + "0123456789abcdef" * 2


SCHEMA = {"type": "function", "function": {"name": "search_docs", "parameters": {"type": "object", "properties": {}}}}


class Shelf:
    """Passages by query."""

    name = "search_docs"

    def __init__(self, **found: list[tuple[Document, float]]) -> None:
        self._found = found

    async def search(self, query: str) -> list[tuple[Document, float]]:
        return self._found[query]


class Library(BaseRetriever):
    """A LangChain retriever."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return self.documents


def passage(chunk: str, text: str = "The port is 8000.", **more: Any) -> Document:
    metadata = {"chunk_id": chunk, "doc_uri": f"https://docs/{chunk}", "title": chunk.upper(), **more}
    return Document(page_content=text, metadata=metadata)


def librarian(shelf: Any, *turns: Any) -> Any:
    """The planner with its search, as the starter graphs wire them."""
    graph: Any = StateGraph(AgentState)
    graph.add_node("planner", make_planner(model=says(*turns), tools=[SCHEMA], prompt="Be brief."))
    graph.add_node("retriever", make_retriever(shelf))
    graph.add_edge(START, "planner")
    graph.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"), ["retriever", "__end__"])
    graph.add_edge("retriever", "planner")
    return graph.compile()


def agent(*tools: Any, calls: Sequence[Any], node: Any = None) -> Any:
    """An agent that calls these tools and answers."""
    graph: Any = StateGraph(MessagesState)
    graph.add_node("agent", speaking(says(["", *calls], ["Port 8000."]), "agent"))
    graph.add_node("tools", node or ToolNode(list(tools)))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition)
    graph.add_edge("tools", "agent")
    return graph.compile()


async def told(graph: Any, **options: Any) -> tuple[list[Any], list[Any]]:
    """The events of a run, and those that tell documents, each in the node that found them."""
    events = await events_of(a_run(graph, invocation=asking(steps=True), **options))
    check_steps(events)
    open_nodes: dict[str, str] = {}
    for event in events:
        if event["type"] == NODE:
            node = event["node"]
            open_nodes[node["id"]] = node["name"]
            if node["status"] != "in_progress":
                del open_nodes[node["id"]]
        elif event["type"] == DOCUMENTS:
            assert set(event) == {"type", "node_id", "call_id", "query", "documents"}
            event["node"] = open_nodes[event["node_id"]]
            for one in event["documents"]:
                assert set(one) == {"number", "id", "title", "url", "score", "text"}
    return events, [one for one in events if one["type"] == DOCUMENTS]


@DIALECTS
async def test_the_retriever_tells_its_passages_with_their_numbers_before_the_answer(dialect: Dialect) -> None:
    shelf = Shelf(port=[(passage("p"), 0.71)], host=[(passage("h", "local"), 0.5), (passage("p"), 0.4)])
    asked = [Call("search_docs", '{"query": "port"}', "c1"), Call("search_docs", '{"query": "host"}', "c2")]
    events, (port, host) = await told(librarian(shelf, ["", *asked], ["Port 8000 [1]."]), dialect=dialect)
    assert (port["query"], port["node"]) == ("port", "retriever")
    assert port["documents"] == [
        {
            "number": 1,
            "id": "p",
            "title": "P",
            "url": "https://docs/p",
            "score": 0.71,
            "text": "The port is 8000.",
        }
    ]
    assert [one["number"] for one in host["documents"]] == [2, 1]
    response = events[-1]["response"]
    assert {one["number"] for one in response["custom_outputs"]["sources"]} == {1, 2}
    # The client knows the call already, and finds its item by the id.
    key, kind = ("call_id", "function_call") if dialect is RESPONSES else ("id", "mcp_call")
    added = [one["item"] for one in events if one["type"] == "response.output_item.added"]
    calls = [one[key] for one in added if one["type"] == kind]
    assert [port["call_id"], host["call_id"]] == calls
    said = next(place for place, one in enumerate(events) if one["type"] == "response.output_text.delta")
    assert events.index(port) < events.index(host) < said
    assert [one["type"] for one in response["output"]].count(kind) == 2


async def test_a_search_that_finds_nothing_says_so() -> None:
    graph = librarian(Shelf(port=[]), ["", Call("search_docs", '{"query": "port"}', "c1")], ["Nothing."])
    _, (event,) = await told(graph)
    assert event["documents"] == []


async def test_documents_are_told_while_the_node_still_works() -> None:
    async def answer(state: Any) -> Any:
        found = await Library(documents=[passage("p")]).ainvoke("port")
        asyncio.get_running_loop().call_later(0.01, told_now.set)
        await told_now.wait()
        assert any(entry.type == DOCUMENTS for entry in run.log.shown)
        return {"messages": [AIMessage(found[0].page_content)]}

    told_now = asyncio.Event()
    run = a_run(chain(answer), invocation=asking(steps=True))
    events = await events_of(run)
    assert events[-1]["type"] == "response.completed"


async def test_a_langchain_retriever_is_told_by_the_names_in_its_metadata() -> None:
    def answer(state: Any) -> Any:
        Library(documents=[Document("Text.", id="x", metadata={"source": "wiki/x", "score": 0.25})]).invoke("port")
        return {"messages": [AIMessage("Done.")]}

    _, (event,) = await told(chain(answer))
    assert (event["query"], event["node"], event["call_id"]) == ("port", "answer", None)
    assert event["documents"] == [
        {"number": None, "id": "x", "title": "wiki/x", "url": "wiki/x", "score": 0.25, "text": "Text."}
    ]


@DIALECTS
@pytest.mark.parametrize("artifact", ["content", "content_and_artifact"])
async def test_a_retriever_as_a_tool_is_told_with_its_call(dialect: Dialect, artifact: Any) -> None:
    library = Library(documents=[passage("p"), passage("q", "Another\npassage 'quoted'.")])
    search = create_retriever_tool(library, "look", "Look.", response_format=artifact)
    graph = agent(search, calls=[Call("look", '{"query": "port"}', "c1")])
    events, (event,) = await told(graph, dialect=dialect)
    assert (event["query"], event["node"]) == ("port", "tools")
    assert [one["id"] for one in event["documents"]] == ["p", "q"]
    added = [one["item"] for one in events[: events.index(event)] if one["type"] == "response.output_item.added"]
    assert event["call_id"] in {one.get("call_id") if dialect is RESPONSES else one["id"] for one in added}


async def test_the_text_of_databricks_search_tool_is_read() -> None:
    @tool
    async def look(query: str, filters: list[str]) -> str:
        """Look."""
        return str([passage("p", 'It\'s 8000.\nAnd "more".'), passage("q", score=0.5)])

    graph = agent(calls=[Call("look", '{"query": "port", "filters": []}', "c1")], node=make_tools([look]))
    _, (event,) = await told(graph)
    assert [(one["id"], one["score"], one["text"]) for one in event["documents"]] == [
        ("p", None, 'It\'s 8000.\nAnd "more".'),
        ("q", 0.5, "The port is 8000."),
    ]
    assert event["query"] == "port"


@pytest.mark.parametrize(
    "text", ["[Document(", "[Document(page_content=open('x'))]", "[Document(*x)]", "[Document(" * 5000, "[Document(1)]"]
)
async def test_text_that_is_no_list_of_documents_is_only_text(text: str) -> None:
    @tool
    async def look(query: str) -> str:
        """Look."""
        return text

    events, documents = await told(agent(look, calls=[Call("look", '{"query": "port"}', "c1")]))
    assert not documents
    assert events[-1]["type"] == "response.completed"


async def test_what_a_tool_finds_and_does_not_show_is_private() -> None:
    @tool
    async def look(topic: str) -> str:
        """Look."""
        await Library(documents=[passage("p"), passage("q", "The staff of the house.")]).ainvoke(f"secret {topic}")
        return "It says: The port is 8000."

    @tool
    async def count(topic: str, config: RunnableConfig) -> str:
        """Count."""
        await Library(documents=[passage("r")]).ainvoke(topic)
        # LangChain gives a tool the config of its node.
        await Library(documents=[passage("s")]).ainvoke(topic, config)
        record_retrieval(config, query="q", documents=[passage("t")], name="own", start_ns=0, end_ns=1)
        return "Two."

    calls = [Call("look", '{"topic": "ports"}', "c1"), Call("count", '{"topic": "ports"}', "c2")]
    events, (event,) = await told(agent(look, count, calls=calls))
    assert [one["id"] for one in event["documents"]] == ["p"]
    # The tool has made this query.
    assert event["query"] == ""
    assert "staff" not in str(events)


async def test_a_graph_inside_a_tool_tells_nothing() -> None:
    async def inner(state: Any) -> Any:
        await Library(documents=[passage("p")]).ainvoke("port")
        return {"messages": [AIMessage("The port is 8000.")]}

    within = chain(inner)

    @tool
    async def look(query: str) -> str:
        """Look."""
        return str((await within.ainvoke({"messages": query}))["messages"][-1].text)

    _, documents = await told(agent(look, calls=[Call("look", '{"query": "port"}', "c1")]))
    assert not documents


async def test_a_failed_tool_tells_nothing() -> None:
    @tool
    async def look(query: str) -> str:
        """Look."""
        await Library(documents=[passage("p")]).ainvoke(query)
        raise ValueError("The port is 8000.")

    graph = agent(calls=[Call("look", '{"query": "port"}', "c1")], node=ToolNode([look], handle_tool_errors=True))
    assert not (await told(graph))[1]


async def test_a_retriever_that_asks_another_is_told_once() -> None:
    class Best(BaseRetriever):
        inner: BaseRetriever

        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
            return self.inner.invoke(query, config={"callbacks": run_manager.get_child()})[:1]

    async def answer(state: Any) -> Any:
        await Best(inner=Library(documents=[passage("p"), passage("q")])).ainvoke("port")
        return {"messages": [AIMessage("Done.")]}

    _, (event,) = await told(chain(answer))
    assert [one["id"] for one in event["documents"]] == ["p"]


async def test_a_search_that_a_node_records_is_told() -> None:
    async def answer(state: Any, config: RunnableConfig) -> Any:
        record_retrieval(config, query="port", documents=[passage("p")], name="own", start_ns=0, end_ns=1)
        record_retrieval(config, query="x", documents=[], name="own", start_ns=0, end_ns=1, error="TimeoutError")
        return {"messages": [AIMessage("Done.")]}

    _, (event,) = await told(chain(answer))
    assert [one["id"] for one in event["documents"]] == ["p"]


async def test_documents_are_few_and_short_and_hold_no_secret_and_no_dangerous_address() -> None:
    many = [
        passage(
            f"c{number}",
            "x" * 1_990 + f" key {SECRET} " + "y" * 5_000,
            doc_uri="javascript:alert(1)",
            title=f"t {SECRET} " + "z" * 5_000,
            score=float("nan"),
        )
        for number in range(30)
    ]

    async def answer(state: Any) -> Any:
        await Library(documents=many).ainvoke(f"find {SECRET}")
        return {"messages": [AIMessage("Done.")]}

    events, (event,) = await told(chain(answer))
    assert SECRET[:12] not in str(events)
    assert len(event["documents"]) == 20
    for one in event["documents"]:
        assert len(one["text"]) <= 2_000
        assert len(one["title"]) <= 1_000
        assert one["score"] is None
        assert not one["url"].startswith("javascript:")


async def test_many_searches_do_not_use_up_the_log_of_a_run() -> None:
    many = [passage(f"c{number}", "x" * 2_000) for number in range(20)]

    async def answer(state: Any) -> Any:
        for number in range(40):
            await Library(documents=many).ainvoke(f"{number}")
        return {"messages": [AIMessage("Done.")]}

    events, documents = await told(chain(answer))
    assert len(documents) == 40
    assert sum(len(one["text"]) for event in documents for one in event["documents"]) == 1_000_000
    assert documents[-1]["documents"][-1]["title"] == "C19"
    assert events[-1]["type"] == "response.completed"


async def test_without_asking_no_document_is_told() -> None:
    graph = librarian(
        Shelf(port=[(passage("p"), 0.7)]), ["", Call("search_docs", '{"query": "port"}', "c1")], ["8000."]
    )
    assert not [one for one in await events_of(graph) if one["type"] == DOCUMENTS]
