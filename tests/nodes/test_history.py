"""Which turns of a long conversation the planner's model sees."""

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, Handoff, ModelContextExceeded, make_planner, make_supervisor
from graph_agent.app_context import AppContext
from graph_agent.settings import Settings
from graph_agent.summaries import summary_message
from graph_agent.testing import ScriptedChatModel
from graph_agent.tracing import LEFT_OUT, RunRecorder

pytestmark = pytest.mark.anyio

RULES = SystemMessage("Answer in rhymes.", id="rules")


def turn(number: int) -> list[BaseMessage]:
    """A turn with a call and its result, of about 60 tokens."""
    call = {"name": "look", "args": {"at": number}, "id": f"call_{number}"}
    return [
        HumanMessage(f"Question {number}", id=f"q{number}"),
        AIMessage("", id=f"c{number}", tool_calls=[call]),
        ToolMessage("found " * 10, tool_call_id=f"call_{number}", id=f"r{number}"),
        AIMessage(f"Answer {number}", id=f"a{number}"),
    ]


def turns(count: int) -> list[BaseMessage]:
    return [one for number in range(count) for one in turn(number)]


class Narrow:
    """A model's reply, or its refusal of what is longer than its window."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.refusals = 0

    def __call__(self, messages: Sequence[BaseMessage]) -> Any:
        if count_tokens_approximately(messages) > self.window:
            self.refusals += 1
            return ModelContextExceeded("the conversation is too long for model 'small'")
        return "Well."


def planning(model: ScriptedChatModel, **options: Any) -> Any:
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Be brief.", **options))
    builder.add_edge(START, "planner")
    return builder.compile()


async def shown(messages: Sequence[BaseMessage], **options: Any) -> list[str]:
    """The texts and calls of what the model sees, without the planner's prompt."""
    model = ScriptedChatModel("Well.")
    state = await planning(model, **options).ainvoke({"messages": list(messages)})
    assert state["messages"][:-1] == messages
    prompt, *rest = model.requests[0].messages
    assert prompt.text == "Be brief."
    return [str(one.id) for one in rest]


def ids(messages: Sequence[BaseMessage]) -> list[str]:
    return [str(one.id) for one in messages]


async def test_a_conversation_that_fits_is_shown_whole() -> None:
    assert await shown(turns(5), history=10_000) == ids(turns(5))


async def test_without_a_limit_the_whole_conversation_is_shown() -> None:
    assert await shown(turns(50)) == ids(turns(50))


@pytest.mark.parametrize("limit", range(20, 320, 25))
async def test_turns_are_shown_whole_or_not_at_all_and_the_newest_always(limit: int) -> None:
    said = [RULES, *turns(6), HumanMessage("And now?", id="now")]
    seen = await shown(said, history=limit)
    assert seen[0] == "rules"
    assert seen[-1] == "now"
    earlier = seen[1:-1]
    assert earlier == ids(turns(6))[len(turns(6)) - len(earlier) :]
    assert len(earlier) % 4 == 0
    whole = count_tokens_approximately([one for one in said if one.id in seen])
    assert whole <= limit or not earlier


async def test_the_calls_of_the_newest_turn_and_their_results_are_shown() -> None:
    assert await shown([*turns(5), *turn(5)[:3]], history=1) == ids(turn(5)[:3])


async def test_a_result_after_the_next_question_keeps_its_call() -> None:
    question, call, result, _ = turn(5)
    late = [*turns(5), question, call, HumanMessage("Hurry!", id="hurry"), result]
    assert await shown(late, history=1) == ids(late[-4:])


async def test_system_messages_within_the_conversation_stay() -> None:
    said = [*turns(3), RULES, *turns(6)[12:], HumanMessage("And now?", id="now")]
    assert await shown(said, history=1) == ["rules", "now"]


async def test_the_setting_is_the_limit_of_every_planner_without_one() -> None:
    said = [*turns(5), HumanMessage("And now?", id="now")]
    with AppContext(Settings(history_tokens=20)).entered():
        assert await shown(said) == ["now"]
        assert await shown(said, history=10_000) == ids(said)


async def test_a_model_that_says_how_much_it_reads_is_shown_no_more() -> None:
    model = ScriptedChatModel("Well.", profile={"max_input_tokens": 100})
    await planning(model).ainvoke({"messages": turns(20)})
    assert count_tokens_approximately(model.requests[0].messages) < 100


async def test_a_model_that_refuses_a_long_conversation_is_asked_again_with_less_of_it() -> None:
    window = Narrow(200)
    model = ScriptedChatModel(window, each_turn=True)
    graph = planning(model)
    with AppContext(Settings()).entered():
        for number in range(3):
            said = [*turns(40 + number), HumanMessage("And now?", id="now")]
            state = await graph.ainvoke({"messages": said})
            assert state["messages"][-1].text == "Well."
            assert len(state["messages"]) == len(said) + 1
            if number == 0:
                refused = window.refusals
    assert refused > 0
    # It was not asked in vain again.
    assert window.refusals == refused


async def test_a_turn_that_is_too_long_by_itself_is_an_error() -> None:
    model = ScriptedChatModel(Narrow(50), each_turn=True)
    with pytest.raises(ModelContextExceeded):
        await planning(model).ainvoke({"messages": [*turns(3), HumanMessage("word " * 500)]})


async def test_the_trace_says_how_many_messages_were_left_out() -> None:
    said = [*turns(5), HumanMessage("And now?", id="now")]
    recorder = RunRecorder(graph="g", inputs=None)
    await planning(ScriptedChatModel("Well."), history=1).ainvoke({"messages": said}, {"callbacks": [recorder]})
    noted = [one.attributes.get(LEFT_OUT) for one in recorder.spans if one.kind == "CHAT_MODEL"]
    assert noted == [20]


async def test_a_supervisor_sees_the_newest_turns_too() -> None:
    model = ScriptedChatModel("Well.")
    agents = [Handoff(to="data", description="Numbers.", example="Two and two")]
    builder = StateGraph(AgentState)
    builder.add_node("supervisor", make_supervisor(model=model, agents=agents, prompt="Lead.", history=1))
    builder.add_edge(START, "supervisor")
    said = [*turns(5), HumanMessage("And now?", id="now")]
    state = await builder.compile().ainvoke({"messages": said})
    assert model.requests[0].texts == ["Lead.", "And now?"]
    assert state["messages"][:-1] == said


async def test_a_summary_of_what_came_before_is_always_shown() -> None:
    summary = summary_message("They talked.", "summary")
    messages = [RULES, summary, *turns(10)]
    found = await shown(messages, history=200)
    assert found[:2] == ["rules", "summary"]
    assert len(found) < len(messages)
    # Also behind the messages of users that a client has kept.
    kept = [HumanMessage("Earlier", id="earlier"), summary]
    assert "summary" in await shown([*kept, *turns(10)], history=200)
