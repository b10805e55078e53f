"""The last message left is the answer, in whatever form and however it got there."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
import typing_extensions
from langchain.agents import create_agent
from langchain.agents.middleware import after_model, wrap_model_call
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, Overwrite, Send
from pydantic import BaseModel
from tests.graphs.scripted import says
from tests.runs.running import Graph, a_run, asking, chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.testing import Call, ScriptedChatModel

pytestmark = pytest.mark.anyio

DIALECTS = pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])


async def streamed(graph: Graph, **options: Any) -> list[tuple[str, str | None]]:
    events = await events_of(graph, **options)
    return phases(events[-1]["response"])


async def replied(graph: Graph, **options: Any) -> list[tuple[str, str | None]]:
    run = a_run(graph, invocation=asking(mode="reply"), **options)
    run.start()
    response = await run.reply()
    await run.aclose()
    return phases(response)


def drafts(model: Callable[[str], Any]) -> list[Any]:
    return [speaking(model("Draft one."), "first"), speaking(model("Draft two."), "second")]


def whole(text: str) -> ScriptedChatModel:
    return says((text,), disable_streaming=True)


def alone(text: str) -> Any:
    return says(*[[text]] * 3)


def take_back(state: MessagesState) -> dict[str, Any]:
    return {"messages": [RemoveMessage(str(state["messages"][-1].id))]}


def overwrite(state: MessagesState) -> dict[str, Any]:
    return {"messages": Overwrite(state["messages"][:-1])}


def overwrite_in_json(state: MessagesState) -> dict[str, Any]:
    return {"messages": {"__overwrite__": state["messages"][:-1]}}


def begin_anew(state: MessagesState) -> dict[str, Any]:
    kept = [one.model_copy(update={"id": None}) for one in state["messages"][:-1]]
    return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *kept]}


@pytest.mark.parametrize("undo", [take_back, overwrite, overwrite_in_json, begin_anew])
@pytest.mark.parametrize("model", [alone, whole], ids=["streamed", "whole"])
async def test_a_draft_that_is_taken_back_is_not_the_answer(undo: Any, model: Any) -> None:
    graph = chain(*drafts(model), undo)
    told = await streamed(graph)
    assert [text for text, phase in told if phase == "final_answer"] == ["Draft one."]
    assert await replied(graph) == [("Draft one.", "final_answer")]


@tool(return_direct=True)
def form() -> str:
    """The form."""
    return "Fill this form."


@DIALECTS
@pytest.mark.parametrize("before", [[], ["One moment. "]])
async def test_what_a_tool_returns_directly_is_the_answer(before: list[str], dialect: Dialect) -> None:
    graph = create_agent(says([*before, Call("form")], ["never"]), [form])
    events = await events_of(graph, dialect=dialect)
    said = [(text, "commentary") for text in before]
    assert phases(events[-1]["response"]) == [*said, ("Fill this form.", "final_answer")]
    assert "Fill this form." in str([line for line in gist(events) if "output" in line or "mcp" in line])


async def test_a_failed_tool_that_stands_last_is_told_as_failed() -> None:
    def fail(state: MessagesState) -> dict[str, Any]:
        return {"messages": [ToolMessage("password=hunter2", tool_call_id="call_1", name="look", status="error")]}

    assert await streamed(chain(speaking(says([Call("look")])), fail)) == [("the tool 'look' failed", "final_answer")]


class Weather(BaseModel):
    """The weather."""

    city: str
    rain: bool


@dataclass
class Plain:
    """The weather."""

    city: str


class Typed(typing_extensions.TypedDict):
    """The weather."""

    city: str


@DIALECTS
@pytest.mark.parametrize(
    ("schema", "written", "answer"),
    [
        (Weather, '{"city": "Rome", "rain": true}', '{"city": "Rome", "rain": true}'),
        (Plain, '{"city": "Zürich"}', '{"city": "Zürich"}'),
        (Typed, '{"city": "Rome"}', '{"city": "Rome"}'),
    ],
)
async def test_an_answer_in_a_schema_is_told_as_json(schema: Any, written: str, answer: str, dialect: Dialect) -> None:
    name = schema.__name__
    model = says([Call(name, "{}", "bad")], [Call(name, written, "good")])
    graph = create_agent(model, [], response_format=ToolStrategy(schema))
    assert await streamed(graph, dialect=dialect) == [(answer, "final_answer")]


@pytest.mark.parametrize("synchronous", [True, False])
@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("A text.", "A text."),
        (AIMessage("A message."), "A message."),
        ([HumanMessage("Hm?"), AIMessage("The last.")], "The last."),
        (("ai", "A pair."), "A pair."),
        ({"role": "assistant", "content": "A dictionary."}, "A dictionary."),
        ({"messages": [("assistant", "As a state.")]}, "As a state."),
        ({"city": "Rome"}, '{"city": "Rome"}'),
        (Weather(city="Rome", rain=False), '{"city": "Rome", "rain": false}'),
        (["a", "b"], '["a", "b"]'),
        (7, "7"),
        (None, None),
    ],
)
async def test_what_a_function_returns_is_the_answer(result: Any, answer: str | None, synchronous: bool) -> None:
    if synchronous:

        @entrypoint()
        def graph(given: Any) -> Any:
            return result
    else:

        @entrypoint()
        async def graph(given: Any) -> Any:
            return entrypoint.final(value=result, save=None)

    assert await streamed(graph) == ([] if answer is None else [(answer, "final_answer")])


async def test_a_functions_steps_are_told_as_nodes_are() -> None:
    model = says(["Let me look. ", Call("look")], ["I saw ", "it."])

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    @task
    async def ask(messages: list[Any]) -> Any:
        return await model.ainvoke(messages)

    @task
    async def work(call: Any) -> Any:
        return await look.ainvoke(call)

    @entrypoint()
    async def graph(given: Any) -> Any:
        messages = list(given["messages"])
        said = await ask(messages)
        while said.tool_calls:
            messages += [said, *[await work(call) for call in said.tool_calls]]
            said = await ask(messages)
        return {"messages": [*messages, said]}

    events = await events_of(graph)
    assert [line for line in gist(events) if line[1:2] in "-:"] == [
        "0: Let me look. ",
        "0- message commentary completed 'Let me look. '",
        "1- call look({})",
        "2- output 'seen'",
        "3: I saw ",
        "3: it.",
        "3- message final_answer completed 'I saw it.'",
    ]


async def test_a_streamed_text_that_a_function_returns_in_a_field_is_not_told_twice() -> None:
    @entrypoint()
    async def graph(given: Any) -> Any:
        said = await says(["The ", "report."]).ainvoke(given["messages"])
        return {"report": said.text, "pages": 1}

    assert await streamed(graph) == [("The report.", "final_answer")]


class Listed(TypedDict):
    messages: list[Any]


class Added(TypedDict):
    messages: Annotated[list[Any], add]


class Modelled(BaseModel):
    messages: Annotated[list[AnyMessage], add] = []


@pytest.mark.parametrize(
    ("state", "update"),
    [
        (MessagesState, lambda before: Command(update={"messages": ("ai", "Done.")})),
        (MessagesState, lambda before: {"messages": ChatMessage("Done.", role="assistant")}),
        (MessagesState, lambda before: {"messages": [SystemMessage("Hm."), AIMessage("Done.")]}),
        (MessagesState, lambda before: {"messages": [AIMessage("Done."), AIMessage("")]}),
        (Listed, lambda before: {"messages": [*before, {"role": "assistant", "content": "Done."}]}),
        (Listed, lambda before: {"messages": [AIMessage("Done.")]}),
        (Added, lambda before: {"messages": [("ai", "Done.")]}),
        (Modelled, lambda before: {"messages": [AIMessage("Done.")]}),
    ],
)
async def test_every_state_and_every_short_form_has_an_answer(state: Any, update: Any) -> None:
    def answer(given: Any) -> Any:
        return update(given.messages if isinstance(given, BaseModel) else given["messages"])

    assert await streamed(chain(answer, state=state)) == [("Done.", "final_answer")]


async def test_an_output_schema_does_not_hide_the_answer() -> None:
    class Whole(MessagesState):
        score: int

    class Score(TypedDict):
        score: int

    async def answer(state: Whole) -> dict[str, Any]:
        return {"messages": [await whole("Done.").ainvoke(state["messages"])], "score": 1}

    assert await streamed(chain(answer, state=Whole, output_schema=Score)) == [("Done.", "final_answer")]


@pytest.mark.parametrize("model", [alone, whole])
async def test_an_agents_words_passed_on_as_a_persons_are_the_answer(model: Any) -> None:
    async def research(state: MessagesState) -> Command[Any]:
        said = await model("It rains.").ainvoke(state["messages"])
        return Command(update={"messages": [HumanMessage(said.text, name="researcher")]})

    assert await streamed(chain(research)) == [("It rains.", "final_answer")]


async def test_an_old_answer_is_not_repeated_where_a_history_was_rebuilt() -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]

    def trim(state: MessagesState) -> dict[str, Any]:
        kept = [one.model_copy(update={"id": None}) for one in state["messages"]]
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *kept]}

    events = await events_of(chain(trim), invocation=asking("And?", history=history))
    assert gist(events) == ["completed"]


async def test_a_hand_off_whose_result_travels_in_a_send_has_its_result() -> None:
    @tool
    def transfer() -> Command[Any]:
        """Hand over."""
        asked = AIMessage("", tool_calls=[{"name": "transfer", "args": {}, "id": "call_1"}])
        given = [HumanMessage("Do it."), asked, ToolMessage("Over to Bob.", tool_call_id="call_1")]
        return Command(goto=[Send("bob", {"messages": given})], graph=Command.PARENT)

    builder = StateGraph(MessagesState)
    alice = StateGraph(MessagesState)
    alice.add_node("ask", speaking(says([Call("transfer")]), "ask"))
    alice.add_node("tools", ToolNode([transfer]))
    alice.add_edge(START, "ask")
    alice.add_edge("ask", "tools")
    builder.add_node("alice", alice.compile(), destinations=("bob",))
    builder.add_node("bob", speaking(says([""], ["Bob here."]), "bob"))
    builder.add_edge(START, "alice")
    events = await events_of(builder.compile())
    assert [line for line in gist(events) if line[1] == "-"] == [
        "0- call transfer({})",
        "1- output 'Over to Bob.'",
        "2- message final_answer completed 'Bob here.'",
    ]


async def test_an_answer_out_of_a_cache_is_the_answer_also_in_a_subgraph() -> None:
    inside = StateGraph(MessagesState)
    always = CachePolicy(key_func=lambda given: b"same", ttl=600)
    inside.add_node("speak", speaking(alone("Kept."), "speak"), cache_policy=always)
    inside.add_edge(START, "speak")
    builder = StateGraph(MessagesState)
    builder.add_node("team", inside.compile(cache=InMemoryCache()))
    builder.add_edge(START, "team")
    graph = builder.compile()
    assert await streamed(graph) == await streamed(graph) == [("Kept.", "final_answer")]


async def test_what_several_branches_found_is_joined_in_the_answer() -> None:
    class State(MessagesState):
        parts: Annotated[list[str], add]

    async def work(state: Any) -> dict[str, Any]:
        return {"parts": [(await alone("part").ainvoke(state["messages"])).text]}

    def join(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage(" ".join(state["parts"]))]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_node("join", join, defer=True)
    builder.add_conditional_edges(START, lambda state: [Send("work", {"messages": state["messages"]})] * 3, ["work"])
    builder.add_edge("work", "join")
    told = await streamed(builder.compile())
    assert told == [("part", "commentary")] * 3 + [("part part part", "final_answer")]


# -- text that a guard rewrote ----------------------------------------------------------------------------------------


def replaced(model: Any) -> Graph:
    @after_model
    def guard(state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("I cannot say.", id=state["messages"][-1].id)]}

    return create_agent(model, [], middleware=[guard])


def removed(model: Any) -> Graph:
    @after_model
    def guard(state: Any, runtime: Any) -> dict[str, Any]:
        return {"messages": [RemoveMessage(state["messages"][-1].id), AIMessage("I cannot say.")]}

    return create_agent(model, [], middleware=[guard])


def rewritten_in_the_node(model: Any) -> Graph:
    @wrap_model_call
    async def guard(request: Any, handler: Any) -> Any:
        response = await handler(request)
        response.result[-1] = AIMessage("I cannot say.", id=response.result[-1].id)
        return response

    return create_agent(model, [], middleware=[guard])


@DIALECTS
@pytest.mark.parametrize("guarded", [replaced, removed, rewritten_in_the_node])
@pytest.mark.parametrize("model", [alone, whole], ids=["streamed", "whole"])
async def test_a_reply_in_one_piece_has_nothing_that_a_guard_rewrote(
    guarded: Any, model: Any, dialect: Dialect
) -> None:
    graph = guarded(model("swordfish"))
    assert await replied(graph, dialect=dialect) == [("I cannot say.", "final_answer")]
    said = [("swordfish", "commentary")] if model is alone else []
    assert await streamed(graph, dialect=dialect) == [*said, ("I cannot say.", "final_answer")]


@pytest.mark.parametrize("guarded", [replaced, removed, rewritten_in_the_node])
async def test_so_it_is_where_the_id_of_the_message_came_late(guarded: Any) -> None:
    model = says(["sword", AIMessageChunk("fish", id="resp_1")])
    assert await replied(guarded(model)) == [("I cannot say.", "final_answer")]


@pytest.mark.parametrize("guarded", [replaced, removed, rewritten_in_the_node])
async def test_so_it_is_where_the_guarded_agent_is_a_subgraph(guarded: Any) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("team", guarded(alone("swordfish")))
    builder.add_edge(START, "team")
    assert await replied(builder.compile()) == [("I cannot say.", "final_answer")]


async def test_commentary_before_calls_stays_in_a_reply_also_where_it_left_the_state() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    def forget(state: MessagesState) -> dict[str, Any]:
        return {"messages": [RemoveMessage(str(one.id)) for one in state["messages"][1:]]}

    graph = chain(
        speaking(says(["Let me look. ", Call("look")]), "first"),
        _working(look),
        forget,
        speaking(says(["Done."]), "last"),
    )
    assert await replied(graph) == [("Let me look. ", "commentary"), ("Done.", "final_answer")]


def _working(*tools: Any) -> Any:
    node = ToolNode(list(tools))

    async def work(state: MessagesState) -> Any:
        return await node.ainvoke(state)

    return work
