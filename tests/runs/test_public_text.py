"""Which text of a graph the caller gets to see, and as what."""

from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Overwrite, Send
from tests.graphs.scripted import says
from tests.runs.running import asking, chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.testing import Blocks, Call, Reasoning

pytestmark = pytest.mark.anyio


async def test_tokens_of_the_answer_stream_one_by_one() -> None:
    events = await events_of(chain(speaking(says(["Hello ", "world."]))))
    assert gist(events) == [
        "0+ message",
        "0: Hello ",
        "0: world.",
        "0- message final_answer completed 'Hello world.'",
        "completed",
    ]


async def test_a_model_that_cannot_stream_answers_in_one_piece() -> None:
    events = await events_of(chain(speaking(says(("Hello ", "world."), disable_streaming=True))))
    assert gist(events) == [
        "0+ message",
        "0: Hello world.",
        "0- message final_answer completed 'Hello world.'",
        "completed",
    ]


async def test_a_synchronous_node_streams_too() -> None:
    model = says(["Hello ", "world."])

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    events = await events_of(chain(answer))
    assert gist(events)[:3] == ["0+ message", "0: Hello ", "0: world."]


async def test_a_fresh_message_with_the_streamed_text_is_not_said_twice() -> None:
    model = says(["Hello ", "world."])

    async def answer(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke(state["messages"])
        return {"messages": [AIMessage(said.text)]}

    events = await events_of(chain(answer))
    assert gist(events) == [
        "0+ message",
        "0: Hello ",
        "0: world.",
        "0- message final_answer completed 'Hello world.'",
        "completed",
    ]


@pytest.mark.parametrize(
    "written",
    [
        {"role": "assistant", "content": "Hello world."},
        ("assistant", "Hello world."),
        ("ai", "Hello world."),
        AIMessage("Hello world."),
        AIMessageChunk("Hello world."),
        AIMessage([{"type": "text", "text": "Hello "}, {"type": "text", "text": "world."}]),
    ],
    ids=["dict", "tuple", "ai-tuple", "message", "chunk", "blocks"],
)
@pytest.mark.parametrize("wrap", [lambda one: [one], lambda one: one], ids=["listed", "bare"])
async def test_every_way_langgraph_takes_a_message_is_an_answer(written: Any, wrap: Any) -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": wrap(written)}

    events = await events_of(chain(answer))
    assert gist(events) == [
        "0+ message",
        "0: Hello world.",
        "0- message final_answer completed 'Hello world.'",
        "completed",
    ]


@pytest.mark.parametrize("written", [{"role": "assistant", "content": "Hello."}, ("ai", "Hello.")])
async def test_streamed_text_returned_in_short_form_is_not_said_twice(written: Any) -> None:
    model = says("Hello.")

    async def answer(state: MessagesState) -> dict[str, Any]:
        await model.ainvoke(state["messages"])
        return {"messages": [written]}

    events = await events_of(chain(answer))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_a_node_that_returns_the_whole_history_adds_only_what_is_new() -> None:
    model = says("Fine.")
    history = [
        {"type": "message", "role": "user", "content": "How are you?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
    ]

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [*state["messages"], await model.ainvoke(state["messages"])]}

    events = await events_of(chain(answer), invocation=asking("And now?", history=history))
    assert gist(events) == ["0+ message", "0: Fine.", "0- message final_answer completed 'Fine.'", "completed"]


async def test_a_history_rebuilt_without_ids_is_not_said_again() -> None:
    history = [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]

    def rebuild(state: MessagesState) -> dict[str, Any]:
        return {"messages": Overwrite([message.model_copy(update={"id": None}) for message in state["messages"]])}

    events = await events_of(
        chain(rebuild, speaking(says("Still sunny."))), invocation=asking("And now?", history=history)
    )
    assert gist(events) == [
        "0+ message",
        "0: Still sunny.",
        "0- message final_answer completed 'Still sunny.'",
        "completed",
    ]


async def test_a_trailing_node_without_text_leaves_the_answer_the_answer() -> None:
    def log(state: MessagesState) -> dict[str, Any]:
        return {}

    def nothing(state: MessagesState) -> None:
        return None

    events = await events_of(chain(speaking(says("Hello.")), log, nothing))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_text_of_a_trailing_model_that_is_not_returned_does_not_become_the_answer() -> None:
    title = says("A greeting")

    async def entitle(state: MessagesState) -> None:
        await title.ainvoke([HumanMessage("title?")])

    events = await events_of(chain(speaking(says("Hello.")), entitle))
    assert phases(events[-1]["response"]) == [("Hello.", "final_answer"), ("A greeting", "commentary")]


async def test_an_answer_held_back_survives_a_trailing_model_that_is_not_returned() -> None:
    title = says("A greeting")

    async def entitle(state: MessagesState) -> None:
        await title.ainvoke([HumanMessage("title?")])

    whole = says(("Hello.",), disable_streaming=True)
    events = await events_of(chain(speaking(whole), entitle))
    assert phases(events[-1]["response"]) == [("A greeting", "commentary"), ("Hello.", "final_answer")]


async def test_thinking_aloud_in_a_model_that_is_not_returned_is_commentary() -> None:
    aloud = says(["Let me ", "think."])

    async def think(state: MessagesState) -> None:
        await aloud.ainvoke(state["messages"])

    events = await events_of(chain(think, speaking(says("42."))))
    assert gist(events)[:3] == ["0+ message", "0: Let me ", "0: think."]
    assert phases(events[-1]["response"]) == [("Let me think.", "commentary"), ("42.", "final_answer")]


async def test_an_item_is_closed_before_the_next_one_opens() -> None:
    aloud = says("Hm.")

    async def think(state: MessagesState) -> None:
        await aloud.ainvoke(state["messages"])

    events = await events_of(
        chain(think, speaking(says("One.", "Two."), "first"), speaking(says("One.", "Two."), "second"))
    )
    opened_and_closed = [line[:2] for line in gist(events) if line[1] in "+-"]
    assert opened_and_closed == ["0+", "0-", "1+", "1-", "2+", "2-"]


async def test_text_that_is_returned_in_a_field_of_its_own_is_the_answer() -> None:
    class State(MessagesState):
        report: str

    model = says("The report.")

    async def report(state: State) -> dict[str, Any]:
        return {"report": (await model.ainvoke(state["messages"])).text}

    events = await events_of(chain(report, state=State))
    assert phases(events[-1]["response"]) == [("The report.", "final_answer")]


async def test_tokens_of_a_nostream_model_are_private_and_its_message_too_when_another_follows() -> None:
    planner = says("First I search, then I lie.").with_config(tags=["nostream"])
    events = await events_of(chain(speaking(planner, "plan"), speaking(says("", "Hello."))))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_a_chunk_returned_by_a_nostream_planner_is_no_text_either() -> None:
    planner = says("First I search.").with_config(tags=["nostream"])

    async def plan(state: MessagesState) -> dict[str, Any]:
        whole: Any = None
        async for chunk in planner.astream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    events = await events_of(chain(plan, speaking(says("", "Hello."))))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_a_nostream_message_is_shown_once_when_it_is_the_answer() -> None:
    quiet = says(["Hello ", "world."]).with_config(tags=["nostream"])
    events = await events_of(chain(speaking(quiet)))
    assert gist(events) == [
        "0+ message",
        "0: Hello world.",
        "0- message final_answer completed 'Hello world.'",
        "completed",
    ]


async def test_a_structured_output_call_is_private() -> None:
    schema = {"title": "Route", "type": "object", "properties": {"route": {"type": "string"}}}
    judge = says('{"route": "secret"}').bind(ls_structured_output_format={"kwargs": {}, "schema": schema})

    async def route(state: MessagesState) -> None:
        await judge.ainvoke(state["messages"])

    events = await events_of(chain(route, speaking(says("Hello."))))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_a_model_inside_a_tool_is_private_and_its_result_public() -> None:
    inner = says("inner words")

    @tool
    async def ask_expert() -> str:
        """Ask."""
        return (await inner.ainvoke([HumanMessage("?")])).text.upper()

    events = await events_of(_agent(says([Call("ask_expert")], "Done."), [ask_expert]))
    assert gist(events) == [
        "0+ function_call",
        "0- call ask_expert({})",
        "1+ function_call_output",
        "1- output 'INNER WORDS'",
        "2+ message",
        "2: Done.",
        "2- message final_answer completed 'Done.'",
        "completed",
    ]


async def test_a_graph_inside_a_tool_is_private() -> None:
    inside = chain(speaking(says("inner words")))

    @tool
    async def ask_team() -> str:
        """Ask."""
        return (await inside.ainvoke({"messages": [HumanMessage("?")]}))["messages"][-1].text.upper()

    events = await events_of(_agent(says([Call("ask_team")], "Done."), [ask_team]))
    assert [line for line in gist(events) if "inner words" in line] == []
    assert phases(events[-1]["response"]) == [("Done.", "final_answer")]


async def test_text_before_a_tool_call_is_commentary_of_its_own() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    events = await events_of(_agent(says(["Let me ", "look.", Call("look")], ["I saw ", "it."]), [look]))
    assert gist(events) == [
        "0+ message",
        "0: Let me ",
        "0: look.",
        "0- message commentary completed 'Let me look.'",
        "1+ function_call",
        "1- call look({})",
        "2+ function_call_output",
        "2- output 'seen'",
        "3+ message",
        "3: I saw ",
        "3: it.",
        "3- message final_answer completed 'I saw it.'",
        "completed",
    ]


async def test_reasoning_is_an_item_of_its_own_before_the_text() -> None:
    events = await events_of(chain(speaking(says([Reasoning("Let "), Reasoning("me."), "Hello."]))))
    assert gist(events) == [
        "0+ reasoning",
        "0: Let ",
        "0: me.",
        "0- reasoning 'Let me.'",
        "1+ message",
        "1: Hello.",
        "1- message final_answer completed 'Hello.'",
        "completed",
    ]


async def test_reasoning_of_a_model_that_does_not_stream_is_shown_once_before_its_calls() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    model = says((Reasoning("I should look."), Call("look")), (Reasoning("So."), "Done."), disable_streaming=True)
    events = await events_of(_agent(model, [look]))
    assert [line for line in gist(events) if line[1] == "-"] == [
        "0- reasoning 'I should look.'",
        "1- call look({})",
        "2- output 'seen'",
        "3- reasoning 'So.'",
        "4- message final_answer completed 'Done.'",
    ]


async def test_content_blocks_stream_as_text_and_reasoning() -> None:
    turn = [
        Blocks({"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "index": 0}),
        Blocks({"type": "text", "text": "Hello ", "index": 1}),
        Blocks({"type": "text", "text": "world.", "index": 1}),
    ]
    events = await events_of(chain(speaking(says(turn))))
    assert gist(events) == [
        "0+ reasoning",
        "0: Hm.",
        "0- reasoning 'Hm.'",
        "1+ message",
        "1: Hello ",
        "1: world.",
        "1- message final_answer completed 'Hello world.'",
        "completed",
    ]


async def test_citations_of_the_returned_message_are_annotations_of_the_streamed_text() -> None:
    model = says("Hello [1]")
    citation = {"type": "citation", "url": "https://docs.org/1", "title": "One", "start_index": 6, "end_index": 9}

    async def answer(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke(state["messages"])
        block = {"type": "text", "text": said.text, "annotations": [citation]}
        return {"messages": [said.model_copy(update={"content": [block]})]}

    events = await events_of(chain(answer))
    assert gist(events) == [
        "0+ message",
        "0: Hello [1]",
        "0@ https://docs.org/1",
        "0- message final_answer completed 'Hello [1]'",
        "completed",
    ]


async def test_a_returned_message_that_goes_on_after_the_streamed_text_is_written_to_its_end() -> None:
    model = says("Hello.")

    async def answer(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke(state["messages"])
        return {"messages": [said.model_copy(update={"content": "Hello. Sources: 1"})]}

    events = await events_of(chain(answer))
    assert gist(events) == [
        "0+ message",
        "0: Hello.",
        "0:  Sources: 1",
        "0- message final_answer completed 'Hello. Sources: 1'",
        "completed",
    ]


async def test_a_returned_message_that_says_otherwise_is_the_answer_and_what_streamed_is_not() -> None:
    model = says("The password is swordfish.")

    async def answer(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke(state["messages"])
        return {"messages": [said.model_copy(update={"content": "I cannot say."})]}

    events = await events_of(chain(answer))
    assert phases(events[-1]["response"]) == [
        ("The password is swordfish.", "commentary"),
        ("I cannot say.", "final_answer"),
    ]


async def test_a_trailing_node_that_rewrites_the_answer_has_the_last_word() -> None:
    def guard(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("I cannot say.", id=state["messages"][-1].id)]}

    events = await events_of(chain(speaking(says("swordfish")), guard))
    assert phases(events[-1]["response"]) == [("swordfish", "commentary"), ("I cannot say.", "final_answer")]


async def test_a_message_that_is_removed_and_said_anew_is_the_answer() -> None:
    def guard(state: MessagesState) -> dict[str, Any]:
        return {"messages": [RemoveMessage(str(state["messages"][-1].id)), AIMessage("I cannot say.")]}

    events = await events_of(chain(speaking(says("swordfish")), guard))
    assert phases(events[-1]["response"]) == [("swordfish", "commentary"), ("I cannot say.", "final_answer")]


async def test_a_message_of_a_person_made_by_a_node_is_not_echoed() -> None:
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [HumanMessage("nudge"), "another nudge", ("user", "and another")]}

    events = await events_of(chain(ask, speaking(says("Hello."))))
    assert gist(events) == ["0+ message", "0: Hello.", "0- message final_answer completed 'Hello.'", "completed"]


async def test_a_run_without_any_text_completes_with_no_items() -> None:
    def nothing(state: MessagesState) -> None:
        return None

    events = await events_of(chain(nothing))
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    assert events[-1]["response"]["output"] == []


async def test_a_subgraph_streams_and_what_its_parent_returns_again_is_not_said_twice() -> None:
    inside = chain(speaking(says("One.", "Two."), "first"), speaking(says("One.", "Two."), "second"))
    builder = StateGraph(MessagesState)
    builder.add_node("team", inside)
    builder.add_edge(START, "team")
    events = await events_of(builder.compile())
    assert [line for line in gist(events) if ":" in line] == ["0: One.", "1: Two."]
    assert phases(events[-1]["response"]) == [("One.", "commentary"), ("Two.", "final_answer")]


async def test_an_agent_in_a_subgraph_is_told_as_if_it_stood_alone() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    alone = _agent(says(["Let me look.", Call("look")], "I saw it."), [look])
    builder = StateGraph(MessagesState)
    builder.add_node("team", alone)
    builder.add_edge(START, "team")
    assert gist(await events_of(builder.compile())) == gist(await events_of(alone))


async def test_a_subgraph_that_answers_in_short_form_is_not_said_twice() -> None:
    def first(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", "One.")]}

    async def second(state: MessagesState) -> dict[str, Any]:
        said = await says("One.", "Two.").ainvoke(state["messages"])
        return {"messages": [{"role": "assistant", "content": said.text}]}

    builder = StateGraph(MessagesState)
    builder.add_node("team", chain(first, second))
    builder.add_edge(START, "team")
    events = await events_of(builder.compile())
    assert gist(events) == ["0+ message", "0: Two.", "0- message final_answer completed 'Two.'", "completed"]


async def test_a_node_that_runs_a_graph_itself_and_returns_only_its_answer() -> None:
    inside = chain(speaking(says("Inside."), "first"))

    async def team(state: MessagesState) -> dict[str, Any]:
        done = await inside.ainvoke({"messages": state["messages"]})
        return {"messages": [AIMessage(done["messages"][-1].text)]}

    events = await events_of(chain(team))
    assert gist(events) == ["0+ message", "0: Inside.", "0- message final_answer completed 'Inside.'", "completed"]


async def test_two_subgraphs_that_speak_at_once_keep_their_words_apart() -> None:
    builder = StateGraph(MessagesState)
    for name in ("left", "right"):
        builder.add_node(name, chain(speaking(says([f"{name}-1 ", f"{name}-2"]))))
        builder.add_edge(START, name)
    builder.add_node("join", speaking(says("", "", "Joined.")))
    builder.add_edge(["left", "right"], "join")
    events = await events_of(builder.compile())
    assert sorted(phases(events[-1]["response"])[:2]) == [
        ("left-1 left-2", "commentary"),
        ("right-1 right-2", "commentary"),
    ]
    assert phases(events[-1]["response"])[2:] == [("Joined.", "final_answer")]


async def test_commands_and_sends_are_followed() -> None:
    class State(TypedDict):
        messages: Annotated[list[Any], add]

    def split(state: State) -> Command[Any]:
        return Command(goto=[Send("worker", {"messages": state["messages"]}) for _ in range(3)])

    def worker(state: State) -> Command[Any]:
        return Command(update={"messages": [AIMessage("part")]}, goto="answer")

    async def answer(state: State) -> list[Command[Any]]:
        said = await says("", "", "", "All.").ainvoke(state["messages"])
        return [Command(update={"messages": [said]}), Command(goto=END)]

    builder = StateGraph(State)
    builder.add_node("split", split, destinations=("worker",))
    builder.add_node("worker", worker, destinations=("answer",))
    builder.add_node("answer", answer)
    builder.add_edge(START, "split")
    events = await events_of(builder.compile())
    assert phases(events[-1]["response"]) == [("All.", "final_answer")]


async def test_a_command_to_the_parent_graph_carries_its_messages() -> None:
    def hand_over(state: MessagesState) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="answer", update={"messages": [AIMessage("Handing over.")]})

    inside = StateGraph(MessagesState)
    inside.add_node("hand_over", hand_over)
    inside.add_edge(START, "hand_over")
    builder = StateGraph(MessagesState)
    builder.add_node("team", inside.compile(), destinations=("answer",))
    builder.add_node("answer", speaking(says("", "Answered.")))
    builder.add_edge(START, "team")
    events = await events_of(builder.compile())
    assert phases(events[-1]["response"]) == [("Answered.", "final_answer")]


async def test_custom_outputs_come_back_from_the_root_graph() -> None:
    class State(MessagesState):
        custom_outputs: dict[str, Any]

    def answer(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("Hello.")], "custom_outputs": {"sources": [1]}}

    events = await events_of(chain(answer, state=State))
    assert events[-1]["response"]["custom_outputs"] == {"sources": [1]}


async def test_usage_adds_up_all_model_calls_and_counts_none_twice() -> None:
    graph = chain(speaking(says("One.", "Two."), "first"), speaking(says("One.", "Two."), "second"))
    events = await events_of(graph)
    assert events[-1]["response"]["usage"] == {
        "input_tokens": 14,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 20,
    }


def _agent(model: Any, tools: list[Any]) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("planner", speaking(model, "planner"))
    builder.add_node("tools", ToolNode(tools))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "planner")
    return builder.compile()
