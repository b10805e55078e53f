"""What the caller never hears: all that happens inside a tool, and what is asked of a model for a program to read."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import LLMToolEmulator, SummarizationMiddleware, before_model
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel
from tests.graphs.scripted import says
from tests.runs.running import Graph, asking, chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.settings import Budgets
from graph_agent.testing import Call, ScriptedChatModel

pytestmark = pytest.mark.anyio

DIALECTS = pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
SECRET = "the salary is 90000"


def look() -> str:
    """Look."""
    return SECRET


def an_agent() -> Graph:
    return create_agent(says(["Hm. ", SECRET, Call("look", id="inner")], [SECRET]), [look])


def a_graph() -> Graph:
    return chain(speaking(says([SECRET])))


def a_graph_that_does_not_stream() -> Graph:
    return chain(speaking(says((SECRET,), disable_streaming=True)))


def a_function() -> Graph:
    @task
    async def think(messages: Any) -> Any:
        return await says([SECRET]).ainvoke(messages)

    @entrypoint()
    async def inner(given: Any) -> Any:
        return {"messages": [await think(given["messages"])]}

    return inner


def a_synchronous_function() -> Graph:
    @task
    def think(messages: Any) -> Any:
        return says([SECRET]).invoke(messages)

    @entrypoint()
    def inner(given: Any) -> Any:
        return {"messages": [think(given["messages"]).result()]}

    return inner


def an_agent_behind_another() -> Graph:
    return create_agent(says([SECRET, Call("ask", id="middle")], [SECRET]), [asking_tool(an_agent())])


def asking_tool(graph: Graph, *, synchronous: bool = False, config: Any = None) -> BaseTool:
    given = {"messages": [HumanMessage("?")]}
    if synchronous:

        @tool("ask")
        def ask_now() -> str:
            """Ask."""
            graph.invoke(given, config)
            return "approved"

        return ask_now

    @tool("ask")
    async def ask() -> str:
        """Ask."""
        await graph.ainvoke(given, config)
        return "approved"

    return ask


def outer(ask: BaseTool) -> Graph:
    return create_agent(says([Call("ask", id="outer")], ["Approved."]), [ask])


INNER = [an_agent, a_graph, a_graph_that_does_not_stream, a_function, a_synchronous_function, an_agent_behind_another]


async def told_by(graph: Graph, dialect: Dialect) -> list[str]:
    events = await events_of(graph, dialect=dialect)
    assert SECRET not in str(events)
    return [line for line in gist(events) if "-" in line[:3]]


ONE_CALL = {
    RESPONSES: ["0- call ask({})", "1- output 'approved'", "2- message final_answer completed 'Approved.'"],
    OPENAI: ["0- mcp ask({}) completed 'approved'", "1- message final_answer completed 'Approved.'"],
}


@DIALECTS
@pytest.mark.parametrize("inner", INNER)
async def test_of_a_graph_inside_a_tool_the_caller_sees_the_call_and_its_result(
    inner: Callable[[], Graph], dialect: Dialect
) -> None:
    assert await told_by(outer(asking_tool(inner())), dialect) == ONE_CALL[dialect]


@DIALECTS
@pytest.mark.parametrize("inner", [an_agent, a_synchronous_function])
async def test_a_synchronous_tool_hides_as_much(inner: Callable[[], Graph], dialect: Dialect) -> None:
    graph = outer(asking_tool(an_agent() if inner is an_agent else inner(), synchronous=True))
    assert await told_by(graph, dialect) == ONE_CALL[dialect]


async def test_a_graph_that_is_given_other_callbacks_inside_a_tool_is_hidden_too() -> None:
    assert await told_by(outer(asking_tool(an_agent(), config={"callbacks": []})), RESPONSES) == ONE_CALL[RESPONSES]


async def test_a_graph_that_a_tool_streams_is_hidden_too() -> None:
    @tool("ask")
    async def ask() -> str:
        """Ask."""
        async for _ in an_agent().astream({"messages": [HumanMessage("?")]}, stream_mode=["updates", "messages"]):
            pass
        return "approved"

    assert await told_by(outer(ask), RESPONSES) == ONE_CALL[RESPONSES]


async def test_two_graphs_at_once_inside_a_tool_are_hidden_both() -> None:
    @tool("ask")
    async def ask() -> str:
        """Ask."""
        given = {"messages": [HumanMessage("?")]}
        await asyncio.gather(an_agent().ainvoke(given), a_graph().ainvoke(given))
        return "approved"

    assert await told_by(outer(ask), RESPONSES) == ONE_CALL[RESPONSES]


async def test_the_same_holds_for_an_agent_in_a_subgraph() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("team", outer(asking_tool(an_agent())))
    builder.add_edge(START, "team")
    assert await told_by(builder.compile(), RESPONSES) == ONE_CALL[RESPONSES]


async def test_a_node_that_calls_a_tool_and_then_a_graph_itself_hides_the_first_alone() -> None:
    public = chain(speaking(says(["Public."])))

    async def work(state: MessagesState) -> dict[str, Any]:
        await asking_tool(an_agent()).ainvoke({})
        done = await public.ainvoke({"messages": state["messages"]})
        return {"messages": done["messages"][-1:]}

    assert await told_by(chain(work), RESPONSES) == ["0- message final_answer completed 'Public.'"]


async def test_calls_inside_a_tool_count_for_no_budget() -> None:
    many = create_agent(says(*[[Call("look", id=f"inner_{turn}")] for turn in range(9)], ["done"]), [look])
    graph = outer(asking_tool(many))
    events = await events_of(graph, budgets=Budgets(tool_calls=1, seconds=30), invocation=asking(max_tool_calls=1))
    assert events[-1]["type"] == "response.completed"
    assert phases(events[-1]["response"]) == [("Approved.", "final_answer")]


# -- what is asked of a model for a program to read ------------------------------------------------------------------


class Verdict(BaseModel):
    """Whether."""

    safe: bool


def judge() -> Any:
    return says(('{"safe": true, ', '"why": "' + SECRET + '"}'))


SCHEMAS: dict[str, Callable[[], Any]] = {
    "json mode": lambda: judge().bind(response_format={"type": "json_object"}) | JsonOutputParser(),
    "schema": lambda: judge().bind(response_format={"type": "json_schema", "json_schema": {"name": "v"}}),
    "class": lambda: judge().bind(response_format=Verdict),
    "forced tool": lambda: judge().bind_tools([Verdict], tool_choice="Verdict"),
    "forced function": lambda: judge().bind_tools(
        [Verdict], tool_choice={"type": "function", "function": {"name": "Verdict"}}
    ),
    "marked": lambda: judge().bind(ls_structured_output_format={"kwargs": {}, "schema": Verdict}),
    "gemini": lambda: judge().bind(response_mime_type="application/json"),
}


@pytest.mark.parametrize("kind", SCHEMAS)
async def test_a_structured_answer_is_a_programs_whatever_marks_it(kind: str) -> None:
    async def route(state: MessagesState) -> None:
        await SCHEMAS[kind]().ainvoke(state["messages"])

    graph = chain(route, speaking(says("Hello.")))
    assert await told_by(graph, RESPONSES) == ["0- message final_answer completed 'Hello.'"]


@pytest.mark.parametrize(
    "bound",
    [
        lambda model: model.bind(response_format={"type": "text"}),
        lambda model: model.bind(tools=[{"function": {"name": "a"}}, {"function": {"name": "b"}}], tool_choice="a"),
        lambda model: model.bind(tools=[{"function": {"name": "a"}}], tool_choice="auto"),
    ],
    ids=["text", "several tools", "choice of its own"],
)
async def test_what_only_looks_like_one_streams(bound: Callable[[Any], Any]) -> None:
    events = await events_of(chain(speaking(bound(says(["Hel", "lo."])))))
    assert gist(events)[:3] == ["0+ message", "0: Hel", "0: lo."]


async def test_an_agents_answer_in_a_schema_beside_its_tools_is_the_answer() -> None:
    model = says(["Looking. ", Call("look")], ['{"safe":', " true}"])
    events = await events_of(create_agent(model, [look], response_format=ProviderStrategy(Verdict)))
    assert phases(events[-1]["response"]) == [("Looking. ", "commentary"), ('{"safe": true}', "final_answer")]


async def test_a_summary_that_middleware_asks_for_is_not_text() -> None:
    summary = SummarizationMiddleware(model=says([SECRET]), trigger=("messages", 1), keep=("messages", 1))
    graph = create_agent(says(["Hello."]), [], middleware=[summary])
    assert await told_by(graph, RESPONSES) == ["0- message final_answer completed 'Hello.'"]


async def test_an_emulated_tool_is_a_call_and_a_result() -> None:
    emulator = LLMToolEmulator(tools=["look"], model=says(["It ", "rains."]))
    events = await events_of(create_agent(says([Call("look")], ["I see."]), [look], middleware=[emulator]))
    assert [line for line in gist(events) if "-" in line[:3]] == [
        "0- call look({})",
        "1- output 'It rains.'",
        "2- message final_answer completed 'I see.'",
    ]


async def test_a_guard_of_ones_own_is_hidden_by_the_same_mark() -> None:
    @before_model
    async def guard(state: Any, runtime: Any) -> None:
        await says([SECRET]).ainvoke(state["messages"], {"metadata": {"lc_source": "guard"}})

    graph = create_agent(says(["Hello."]), [], middleware=[guard])
    assert await told_by(graph, RESPONSES) == ["0- message final_answer completed 'Hello.'"]


# -- models that wrap models ------------------------------------------------------------------------------------------


class Wrapping(ScriptedChatModel):
    """Asks another model, and says what it says in chunks of its own."""

    inner: Any
    handed_on: bool = False

    async def _astream(self, messages: Any, *args: Any, run_manager: Any = None, **kwargs: Any) -> Any:
        async for chunk in self.inner.astream(messages):
            said = chunk if self.handed_on else AIMessageChunk(chunk.content, usage_metadata=chunk.usage_metadata)
            yield ChatGenerationChunk(message=said)


@pytest.mark.parametrize("handed_on", [True, False])
@pytest.mark.parametrize("deep", [1, 2])
async def test_a_model_that_wraps_another_is_heard_and_counted_once(handed_on: bool, deep: int) -> None:
    model = says(["Hel", "lo."])
    for _ in range(deep):
        model = Wrapping("", inner=model, handed_on=handed_on)
    events = await events_of(chain(speaking(model)))
    assert gist(events) == [
        "0+ message",
        "0: Hel",
        "0: lo.",
        "0- message final_answer completed 'Hello.'",
        "completed",
    ]
    usage = events[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 3)


async def test_models_that_are_asked_while_another_speaks_are_counted_each() -> None:
    async def work(state: MessagesState) -> dict[str, Any]:
        async for chunk in says(["One ", "two."]).astream(state["messages"]):
            if chunk.content:
                await says(["Aside."]).ainvoke(state["messages"])
        return {"messages": [("ai", "Done.")]}

    events = await events_of(chain(work))
    assert events[-1]["response"]["usage"]["input_tokens"] == 21


async def test_a_model_that_a_tool_calls_with_the_config_it_was_given_is_private() -> None:
    inner = says("SECRET words")

    @tool
    async def look(query: str, config: RunnableConfig) -> str:
        """Look."""
        # LangChain gives a tool the config of its node.
        await inner.ainvoke(query, config)
        return "fine"

    builder = StateGraph(MessagesState)
    builder.add_node("agent", speaking(says(["", Call("look", '{"query": "x"}', "c1")], ["Done."]), "agent"))
    builder.add_node("tools", ToolNode([look]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    events = await events_of(builder.compile())
    assert events[-1]["type"] == "response.completed"
    assert "SECRET" not in str(events)
