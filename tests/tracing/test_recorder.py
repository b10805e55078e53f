"""Runs of real graphs, recorded."""

import asyncio
from contextlib import aclosing
from typing import Any

import anyio
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt
from tests.tracing.scripted import USAGE, ScriptedModel, call, question, span_of, tree

from graph_agent.tracing import RunRecord, RunRecorder, record_retrieval
from graph_agent.tracing.values import to_json

pytestmark = pytest.mark.anyio

PAGE = Document("Three.", metadata={"doc_uri": "docs/sum.md", "chunk_id": "sum-1"}, id="sum-1")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@tool
async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@tool
def broken(a: int) -> str:
    """Fail."""
    raise ValueError("password=hunter2")


def agent(model: ScriptedModel, name: str | None = None) -> Any:
    bound = model.bind_tools([add, broken])

    async def planner(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("planner", planner)
    builder.add_node("tools", ToolNode([add, broken], handle_tool_errors="it failed"))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", tools_condition)
    builder.add_edge("tools", "planner")
    return builder.compile(name=name)


def one_node(node: Any, name: str = "work") -> Any:
    return StateGraph(MessagesState).add_node(name, node).add_edge(START, name).compile()


async def run(graph: Any, *, stop_at: str | None = None, **config: Any) -> RunRecord:
    recorder = RunRecorder(graph="assistant", inputs=question())
    await drive(graph, recorder, stop_at=stop_at, **config)
    return recorder.close()


async def drive(graph: Any, recorder: RunRecorder, *, stop_at: str | None = None, **config: Any) -> None:
    stream = graph.astream(
        question(),
        {"callbacks": [recorder], **config},
        stream_mode=["messages", "updates"],
        subgraphs=True,
        version="v2",
    )
    with anyio.fail_after(20):
        async with aclosing(stream) as parts:
            async for part in parts:
                if part["type"] == "messages" and part["data"][0].content == stop_at:
                    return


async def test_a_run_is_one_tree_of_nodes_with_models_and_parallel_tools_below() -> None:
    calls = [call("add", '{"a": 1, "b": 2}', id="c1"), call("add", '{"a": 3, "b": 4}', id="c2")]

    record = await run(agent(ScriptedModel(calls=calls)))

    planner = ("CHAIN", "planner", None, ("CHAT_MODEL", "ScriptedModel", None))
    tools = ("CHAIN", "tools", None, ("TOOL", "add", None), ("TOOL", "add", None))
    assert tree(record) == ("AGENT", "assistant", None, planner, tools, planner)


async def test_tools_keep_their_arguments_and_what_they_returned() -> None:
    record = await run(agent(ScriptedModel(calls=[call("add", '{"a": 1, "b": 2}', id="c1")])))

    used = span_of(record, "TOOL")

    assert (used.inputs, used.outputs) == ({"a": 1, "b": 2}, "3")


async def test_model_calls_keep_messages_tools_usage_and_the_whole_answer() -> None:
    record = await run(agent(ScriptedModel()))

    said = span_of(record, "CHAT_MODEL")

    assert to_json(said.inputs) == '{"messages":[{"role":"user","content":"What is 1 + 2?"}]}'
    assert to_json(said.outputs) == '{"choices":[{"message":{"role":"assistant","content":"It is 3."}}]}'
    assert said.attributes["mlflow.chat.tokenUsage"] == USAGE
    assert [one["function"]["name"] for one in said.attributes["mlflow.chat.tools"]] == ["add", "broken"]


async def test_a_failing_tool_is_an_error_that_says_its_type_and_not_its_message() -> None:
    record = await run(agent(ScriptedModel(calls=[call("broken", '{"a": 1}', id="c1")])))

    failed = span_of(record, "TOOL")

    assert (failed.error, failed.outputs) == ("ValueError", None)
    assert "hunter2" not in to_json([(one.inputs, one.outputs, one.attributes) for one in record.spans])
    assert record.root.error is None


async def test_a_subgraph_stands_between_its_node_and_its_nodes() -> None:
    outer = one_node(agent(ScriptedModel(), name="mathematician"), "delegate")

    record = await run(outer)

    inner = ("CHAIN", "planner", None, ("CHAT_MODEL", "ScriptedModel", None))
    assert tree(record) == (
        "AGENT",
        "assistant",
        None,
        ("CHAIN", "delegate", None, ("CHAIN", "mathematician", None, inner)),
    )


async def test_a_subgraph_named_like_its_own_node_keeps_every_step_of_it() -> None:
    calls = [call("add", '{"a": 1, "b": 2}', id="c1")]
    outer = one_node(agent(ScriptedModel(calls=calls), name="planner"), "delegate")

    record = await run(outer)

    planner = ("CHAIN", "planner", None, ("CHAT_MODEL", "ScriptedModel", None))
    inner = ("CHAIN", "planner", None, planner, ("CHAIN", "tools", None, ("TOOL", "add", None)), planner)
    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "delegate", None, inner))


async def test_the_function_of_a_node_is_not_a_step_of_its_own() -> None:
    async def work(state: MessagesState) -> dict[str, Any]:
        return {}

    record = await run(one_node(RunnableLambda(work, name="work")))

    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "work", None))


async def test_subgraphs_that_one_node_runs_at_once_keep_their_own_steps() -> None:
    first = agent(ScriptedModel(words=["a"]), name="first")
    second = agent(ScriptedModel(words=["b"]), name="second")

    async def both(state: MessagesState) -> dict[str, Any]:
        await asyncio.gather(first.ainvoke(state), second.ainvoke(state))
        return {}

    record = await run(one_node(both))

    inner = ("CHAIN", "planner", None, ("CHAT_MODEL", "ScriptedModel", None))
    work = ("CHAIN", "work", None, ("CHAIN", "first", None, inner), ("CHAIN", "second", None, inner))
    assert tree(record) == ("AGENT", "assistant", None, work)


async def test_a_graph_inside_a_tool_stands_below_the_tool() -> None:
    inner = agent(ScriptedModel(), name="inner")

    @tool
    async def ask(text: str) -> str:
        """Ask the inner agent."""
        state = await inner.ainvoke(question(text))
        return str(state["messages"][-1].content)

    outer = StateGraph(MessagesState).add_node("tools", ToolNode([ask])).add_edge(START, "tools").compile()
    recorder = RunRecorder(graph="assistant", inputs=None)
    said = AIMessage("", tool_calls=[{"name": "ask", "args": {"text": "?"}, "id": "c1", "type": "tool_call"}])
    await outer.ainvoke({"messages": [said]}, {"callbacks": [recorder]})

    inside = ("CHAIN", "inner", None, ("CHAIN", "planner", None, ("CHAT_MODEL", "ScriptedModel", None)))
    expected = ("AGENT", "assistant", None, ("CHAIN", "tools", None, ("TOOL", "ask", None, inside)))
    assert tree(recorder.close()) == expected


async def test_eight_runs_at_once_give_eight_equal_trees() -> None:
    graph = agent(ScriptedModel(calls=[call("add", '{"a": 1, "b": 2}', id="c1")]))
    alone = tree(await run(graph))

    records = await asyncio.gather(*(run(graph) for _ in range(8)))

    assert [tree(record) for record in records] == [alone] * 8
    assert len({record.trace_id for record in records}) == 8


async def test_two_runs_in_one_task_do_not_meet() -> None:
    graph = agent(ScriptedModel())

    first, second = await run(graph), await run(graph)

    assert tree(first) == tree(second)
    assert first.trace_id != second.trace_id


async def test_a_failing_model_keeps_the_text_so_far_and_marks_the_way_up() -> None:
    recorder = RunRecorder(graph="assistant", inputs=None)
    with pytest.raises(ConnectionError):
        await drive(agent(ScriptedModel(fail_after=2)), recorder)

    record = recorder.close(status="ERROR", outputs={"answer": "It is "})

    model = ("CHAT_MODEL", "ScriptedModel", "ConnectionError")
    expected = ("AGENT", "assistant", "ConnectionError", ("CHAIN", "planner", "ConnectionError", model))
    assert tree(record) == expected
    said = '{"choices":[{"message":{"role":"assistant","content":"It is "}}]}'
    assert to_json(span_of(record, "CHAT_MODEL").outputs) == said
    assert record.root.outputs == {"answer": "It is "}


async def test_a_reader_who_stops_early_leaves_closed_spans_with_the_text_so_far() -> None:
    recorder = RunRecorder(graph="assistant", inputs=None)
    await drive(agent(ScriptedModel(stop_after=2)), recorder, stop_at="is ")

    record = recorder.close(status="ERROR", error="Cancelled")

    model = ("CHAT_MODEL", "ScriptedModel", "Cancelled")
    expected = ("AGENT", "assistant", "Cancelled", ("CHAIN", "planner", "CancelledError", model))
    assert tree(record) == expected
    said = '{"choices":[{"message":{"role":"assistant","content":"It is "}}]}'
    assert to_json(span_of(record, "CHAT_MODEL").outputs) == said
    assert all(span.start_ns <= span.end_ns <= record.root.end_ns for span in record.spans)


async def test_a_cancelled_run_is_recorded_like_one_whose_reader_left() -> None:
    recorder = RunRecorder(graph="assistant", inputs=None)
    hangs = asyncio.Event()
    task = asyncio.create_task(drive(agent(ScriptedModel(stop_after=2, hangs=hangs)), recorder))
    with anyio.fail_after(20):
        await hangs.wait()
        task.cancel()
        await asyncio.wait([task])
    record = recorder.close(status="ERROR")

    model = ("CHAT_MODEL", "ScriptedModel", "CancelledError")
    expected = ("AGENT", "assistant", "CancelledError", ("CHAIN", "planner", "CancelledError", model))
    assert tree(record) == expected


async def test_closing_ends_what_is_open_and_ignores_what_comes_later() -> None:
    recorder = RunRecorder(graph="assistant", inputs=None)
    hangs = asyncio.Event()
    reader = asyncio.create_task(drive(agent(ScriptedModel(stop_after=1, hangs=hangs)), recorder))
    with anyio.fail_after(20):
        await hangs.wait()
        record = recorder.close()
        reader.cancel()
        await asyncio.wait([reader])

    model = ("CHAT_MODEL", "ScriptedModel", "Unfinished")
    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "planner", "Unfinished", model))
    assert recorder.close(status="ERROR", outputs="late") is record
    assert record.root.outputs is None


async def test_an_interrupt_is_no_error() -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        interrupt("may I?")
        return {}

    record = await run(one_node(ask))

    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "work", None))


async def test_a_command_to_the_parent_graph_is_no_error() -> None:
    def leave(state: MessagesState) -> Command[Any]:
        return Command(goto="after", graph=Command.PARENT)

    inner = one_node(leave)
    builder = StateGraph(MessagesState).add_node("inner", inner, destinations=("after",))
    builder.add_node("after", lambda state: {}).add_edge(START, "inner").add_edge("after", END)

    record = await run(builder.compile())

    assert [(span.name, span.error) for span in record.spans if span.error] == []


async def test_a_node_can_record_its_own_retrieval() -> None:
    async def retriever(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        record_retrieval(config, query="sum", documents=[PAGE], name="docs", start_ns=5, end_ns=9)
        return {}

    record = await run(one_node(retriever, "retriever"))

    found = span_of(record, "RETRIEVER")
    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "retriever", None, ("RETRIEVER", "docs", None)))
    assert (found.start_ns, found.end_ns, found.inputs) == (5, 9, {"query": "sum"})
    assert to_json(found.outputs) == (
        '[{"page_content":"Three.","metadata":{"doc_uri":"docs/sum.md","chunk_id":"sum-1"},"id":"sum-1"}]'
    )


async def test_recording_a_retrieval_without_a_recorder_does_nothing() -> None:
    record_retrieval({}, query="sum", documents=[PAGE], name="docs", start_ns=5, end_ns=9)
    record_retrieval({"callbacks": []}, query="sum", documents=[PAGE], name="docs", start_ns=5, end_ns=9)


async def test_a_tool_whose_artifact_is_documents_has_a_retrieval_below() -> None:
    @tool(response_format="content_and_artifact")
    def look_up(query: str) -> tuple[str, list[Document]]:
        """Look something up."""
        return PAGE.page_content, [PAGE]

    async def work(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        await look_up.ainvoke({"name": "look_up", "args": {"query": "sum"}, "id": "c1", "type": "tool_call"}, config)
        return {}

    record = await run(one_node(work))

    below = ("TOOL", "look_up", None, ("RETRIEVER", "look_up", None))
    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "work", None, below))
    assert span_of(record, "RETRIEVER").inputs == {"query": "sum"}
    assert span_of(record, "RETRIEVER").outputs == [PAGE]
    assert span_of(record, "TOOL").outputs == "Three."


async def test_a_retriever_inside_a_tool_is_recorded_once() -> None:
    class Pages(BaseRetriever):
        def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
            return [PAGE]

    @tool(response_format="content_and_artifact")
    async def look_up(query: str) -> tuple[str, list[Document]]:
        """Look something up."""
        return "found", await Pages().ainvoke(query)

    async def work(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        await look_up.ainvoke({"name": "look_up", "args": {"query": "sum"}, "id": "c1", "type": "tool_call"}, config)
        return {}

    record = await run(one_node(work))

    below = ("TOOL", "look_up", None, ("RETRIEVER", "Pages", None))
    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "work", None, below))


async def test_synchronous_nodes_and_tools_in_threads_land_in_the_same_tree() -> None:
    @tool
    def double(a: int) -> str:
        """Double a number."""
        return str(2 * a)

    def work(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        double.invoke({"a": 2}, config)
        return {}

    record = await run(one_node(work))

    assert tree(record) == ("AGENT", "assistant", None, ("CHAIN", "work", None, ("TOOL", "double", None)))


async def test_configuration_and_credentials_are_in_no_span() -> None:
    record = await run(
        agent(ScriptedModel(calls=[call("add", '{"a": 1, "b": 2}', id="c1")])),
        configurable={"token": "dapi-hidden"},
        metadata={"authorization": "dapi-hidden"},
    )

    assert "dapi-hidden" not in to_json([(one.inputs, one.outputs, one.attributes) for one in record.spans])
