"""Stream parts in, events out: no graph, no clock, no network."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.types import Interrupt
from tests.wire import gist, phases, told

from graph_agent.errors import GraphFailed
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.events import ResponseHead, Usage
from graph_agent.protocol.interrupts import Interrupted, PendingInterrupt
from graph_agent.protocol.translator import SPEAKER, Translator

Part = dict[str, Any]

DIALECTS = pytest.mark.parametrize(
    "dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"]
)
CALL = {"name": "look", "args": {"where": "here"}, "id": "call_1", "type": "tool_call"}


def token(
    text: Any, *, run: str | None = "run-1", message: str = "m-1", last: bool = False, ns: tuple[str, ...] = ()
) -> Part:
    chunk = AIMessageChunk(text, id=message, chunk_position="last" if last else None)
    return {"type": "messages", "ns": ns, "data": (chunk, {} if run is None else {SPEAKER: run})}


def returns(*messages: Any, ns: tuple[str, ...] = (), **values: Any) -> Part:
    return {"type": "updates", "ns": ns, "data": {"node": {"messages": list(messages), **values}}}


def translated(*parts: Part, dialect: Dialect = RESPONSES, end: str = "finish", **options: Any) -> list[Any]:
    translator = Translator(dialect=dialect, head=ResponseHead(model="m"), **options)

    def events() -> Iterator[Any]:
        yield from translator.start()
        for part in parts:
            yield from translator.feed(part)
        match end:
            case "finish":
                yield from translator.finish(Usage())
            case "fail":
                yield from translator.fail(GraphFailed("the graph failed"), Usage())
            case budget:
                yield from translator.cut(budget, Usage())

    done = list(events())
    assert translator.ended
    return done


HEAD = {
    "id": "resp-1",
    "object": "response",
    "created_at": 0,
    "completed_at": None,
    "background": False,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "model": "m",
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
    "metadata": {},
}
USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


@DIALECTS
def test_one_answer_is_the_same_grammar_in_every_dialect(dialect: Dialect) -> None:
    events = translated(
        token("Hello "), token("world."), token("", last=True), returns(AIMessage("Hello world.", id="m-1")),
        dialect=dialect,
    )  # fmt: skip
    place = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "Hello world.", "annotations": [], "logprobs": []}
    item = {
        "type": "message",
        "id": "msg-1",
        "status": "completed",
        "role": "assistant",
        "content": [part],
        "phase": "final_answer",
    }
    opened = {"type": "message", "id": "msg-1", "status": "in_progress", "role": "assistant", "content": []}
    assert told(events) == [
        {"type": "response.created", "response": HEAD | {"status": "in_progress", "output": []}},
        {"type": "response.in_progress", "response": HEAD | {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.content_part.added", "part": part | {"text": ""}} | place,
        {"type": "response.output_text.delta", "delta": "Hello ", "logprobs": []} | place,
        {"type": "response.output_text.delta", "delta": "world.", "logprobs": []} | place,
        {"type": "response.output_text.done", "text": "Hello world.", "logprobs": []} | place,
        {"type": "response.content_part.done", "part": part} | place,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {
            "type": "response.completed",
            "response": HEAD | {"status": "completed", "completed_at": 0, "output": [item], "usage": USAGE},
        },
    ]


@DIALECTS
def test_a_background_run_is_queued_before_it_starts_and_says_so_to_its_end(dialect: Dialect) -> None:
    translator = Translator(dialect=dialect, head=ResponseHead(model="m", background=True))
    queued = [*translator.queued()]
    assert (translator.ended, translator.status) == (False, "in_progress")
    events = [*queued, *translator.start(), *translator.finish(Usage())]
    head = HEAD | {"background": True, "output": []}
    assert told(events) == [
        {"type": "response.created", "response": head | {"status": "queued"}},
        {"type": "response.queued", "response": head | {"status": "queued"}},
        {"type": "response.in_progress", "response": head | {"status": "in_progress"}},
        {"type": "response.completed", "response": head | {"status": "completed", "completed_at": 0, "usage": USAGE}},
    ]


def test_a_call_and_its_result_are_two_items_for_databricks() -> None:
    events = translated(returns(AIMessage("", tool_calls=[CALL])), returns(ToolMessage("seen", tool_call_id="call_1")))
    place = {"item_id": "fc-1", "output_index": 0}
    arguments = '{"where": "here"}'
    call = {"type": "function_call", "id": "fc-1", "call_id": "call_1", "name": "look"}
    output = {
        "type": "function_call_output",
        "id": "fco-1",
        "call_id": "call_1",
        "output": "seen",
        "status": "completed",
    }
    done = call | {"arguments": arguments, "status": "completed"}
    opened = call | {"arguments": "", "status": "in_progress"}
    assert told(events)[2:-1] == [
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.function_call_arguments.delta", "delta": arguments} | place,
        {"type": "response.function_call_arguments.done", "arguments": arguments, "name": "look"} | place,
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.output_item.added", "output_index": 1, "item": output},
        {"type": "response.output_item.done", "output_index": 1, "item": output},
    ]
    assert told(events)[-1]["response"]["output"] == [done, output]


def test_a_call_and_its_result_are_one_item_for_openai() -> None:
    events = translated(
        returns(AIMessage("", tool_calls=[CALL])),
        returns(ToolMessage("seen", tool_call_id="call_1")),
        dialect=OPENAI,
        server="house",
    )
    place = {"item_id": "mcp-1", "output_index": 0}
    arguments = '{"where": "here"}'
    item = {
        "type": "mcp_call",
        "id": "mcp-1",
        "name": "look",
        "server_label": "house",
        "error": None,
        "approval_request_id": None,
    }
    opened = item | {"arguments": "", "output": None, "status": "in_progress"}
    done = item | {"arguments": arguments, "output": "seen", "status": "completed"}
    assert told(events)[2:-1] == [
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.mcp_call.in_progress"} | place,
        {"type": "response.mcp_call_arguments.delta", "delta": arguments} | place,
        {"type": "response.mcp_call_arguments.done", "arguments": arguments} | place,
        {"type": "response.mcp_call.completed"} | place,
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]


def test_reasoning_is_a_summary_of_one_part() -> None:
    thinking = {"type": "reasoning", "reasoning": "Hm."}
    events = translated(token([thinking]), token("Yes."))
    place = {"item_id": "rs-1", "output_index": 0, "summary_index": 0}
    whole = {"type": "summary_text", "text": "Hm."}
    opened = {"type": "reasoning", "id": "rs-1", "summary": []}
    assert told(events)[2:8] == [
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        {"type": "response.reasoning_summary_part.added", "part": {"type": "summary_text", "text": ""}} | place,
        {"type": "response.reasoning_summary_text.delta", "delta": "Hm."} | place,
        {"type": "response.reasoning_summary_text.done", "text": "Hm."} | place,
        {"type": "response.reasoning_summary_part.done", "part": whole} | place,
        {"type": "response.output_item.done", "output_index": 0, "item": opened | {"summary": [whole]}},
    ]


def test_two_models_that_speak_at_once_are_two_items() -> None:
    events = translated(
        token("A", run="a", message="ma"),
        token("1", run="b", message="mb"),
        token("B", run="a", message="ma"),
        token("2", run="b", message="mb"),
        returns(AIMessage("12", id="mb"), ns=("right",)),
        returns(AIMessage("AB", id="ma"), ns=("left",)),
    )
    assert gist(events) == [
        "0+ message",
        "0: A",
        "1+ message",
        "1: 1",
        "0: B",
        "1: 2",
        "0- message final_answer completed 'AB'",
        "1- message commentary completed '12'",
        "completed",
    ]


def test_two_runs_whose_endpoint_gives_every_message_one_id_stay_apart() -> None:
    events = translated(
        token("Let me see.", run="a", message="same", last=True),
        returns(AIMessage("Let me see.", id="same", tool_calls=[CALL])),
        returns(ToolMessage("seen", tool_call_id="call_1", id="t")),
        token("Done.", run="b", message="same", last=True),
        returns(AIMessage("Done.", id="same")),
    )
    assert phases(events[-1]["response"]) == [("Let me see.", "commentary"), ("Done.", "final_answer")]
    assert [item["type"] for item in events[-1]["response"]["output"]] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]


def test_an_answer_nobody_streamed_may_say_what_was_commentary_before() -> None:
    events = translated(
        token("Done.", last=True),
        returns(AIMessage("Done.", id="m-1", tool_calls=[CALL])),
        returns(ToolMessage("seen", tool_call_id="call_1", id="t")),
        returns(AIMessage("Done.", id="m-2")),
    )
    assert phases(events[-1]["response"]) == [("Done.", "commentary"), ("Done.", "final_answer")]


def test_a_chunk_of_no_speaker_is_nobodys_text() -> None:
    assert gist(translated(token("private", run=None))) == ["completed"]


def test_a_repeated_call_and_a_repeated_result_are_told_once() -> None:
    asked, answered = AIMessage("", id="m", tool_calls=[CALL]), ToolMessage("seen", tool_call_id="call_1", id="t")
    events = translated(
        returns(asked, ns=("team",)),
        returns(answered, ns=("team",)),
        returns(asked, answered),
        returns(asked.model_copy(update={"id": "other"}), answered.model_copy(update={"id": None})),
    )
    assert [line for line in gist(events) if "-" in line[:3]] == [
        '0- call look({"where": "here"})',
        "1- output 'seen'",
    ]


def test_what_the_caller_sent_is_not_told_again() -> None:
    known = [
        HumanMessage("Hi", id="h"),
        AIMessage("Looking", id="a", tool_calls=[CALL]),
        ToolMessage("seen", tool_call_id="call_1", id="t"),
    ]
    again = [message.model_copy(update={"id": None}) for message in known]
    assert gist(translated(returns(*known), returns(*again), known=known)) == ["completed"]


def test_a_call_without_an_id_gets_one() -> None:
    nameless = AIMessage("", tool_calls=[CALL | {"id": None}])
    (call,) = translated(returns(nameless))[-1]["response"]["output"]
    assert call["call_id"].startswith("call_")


def test_arguments_json_cannot_say_are_told_as_text() -> None:
    odd = AIMessage("", tool_calls=[CALL | {"args": {"set": {1}}}])
    (call,) = translated(returns(odd))[-1]["response"]["output"]
    assert call["arguments"] == '{"set": "{1}"}'


@DIALECTS
@pytest.mark.parametrize("end", ["finish", "fail", "steps"])
def test_whatever_is_open_is_closed_before_the_one_ending(dialect: Dialect, end: str) -> None:
    events = translated(
        token([{"type": "reasoning", "reasoning": "Hm."}], run="thinker", message="x"),
        token("Half", run="speaker", message="y"),
        token("Other half", run="other", message="z"),
        returns(AIMessage("", id="m", tool_calls=[CALL]), ns=("team",)),
        dialect=dialect,
        end=end,
    )
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(opened) == sorted(closed) == list(range(len(opened)))
    endings = ("response.completed", "response.incomplete", "response.failed")
    told_ends = [event["type"] for event in events if event["type"] in endings]
    assert len(told_ends) == (0 if end == "fail" and dialect is INVOCATIONS else 1)
    assert events[-1]["type"] == (
        "error"
        if end == "fail" and dialect is INVOCATIONS
        else {"finish": "response.completed", "fail": "response.failed", "steps": "response.incomplete"}[end]
    )
    if "response" in events[-1]:
        assert [item["type"] for item in events[-1]["response"]["output"]] == [
            event["item"]["type"]
            for event in sorted(
                (event for event in events if event["type"] == "response.output_item.done"),
                key=lambda event: event["output_index"],
            )
        ]


def test_an_item_that_was_sent_is_not_changed_when_its_phase_is_known() -> None:
    translator = Translator(dialect=RESPONSES, head=ResponseHead(model="m"))
    sent = [
        *translator.feed(token("One", run="a", message="ma", last=True)),
        *translator.feed(returns(AIMessage("One", id="ma"))),
        *translator.feed(token("Two", run="b", message="mb", last=True)),
    ]
    (closed,) = [event["item"] for event in sent if event["type"] == "response.output_item.done"]
    *_, completed = translator.finish(Usage())
    assert "phase" not in closed
    assert phases(completed["response"]) == [("One", "final_answer"), ("Two", "commentary")]


@pytest.mark.parametrize("budget", ["steps", "tool_calls", "seconds", "output_tokens"])
def test_a_spent_budget_is_named_in_metadata_and_custom_outputs_and_said_in_a_sentence(budget: str) -> None:
    events = translated(returns(AIMessage("x", tool_calls=[CALL]), custom_outputs={"kept": 1}), end=budget)
    response = events[-1]["response"]
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["metadata"] == {"budget": budget}
    assert response["custom_outputs"] == {"kept": 1, "budget": budget}
    assert phases(response)[-1][0].startswith("I stopped here: ")


def test_custom_outputs_of_a_subgraph_are_its_own() -> None:
    events = translated(returns(custom_outputs={"inner": 1}, ns=("team",)), returns(custom_outputs={"outer": 2}))
    assert events[-1]["response"]["custom_outputs"] == {"outer": 2}


def interrupts(*found: Interrupt, ns: tuple[str, ...] = (), kind: str = "updates") -> Part:
    return {"type": kind, "ns": ns, "data": {"__interrupt__": found}}


def interrupted_by(*parts: Part) -> Interrupted | None:
    translator = Translator(dialect=RESPONSES, head=ResponseHead(model="m"))
    assert [event for part in parts for event in translator.feed(part)] == []
    return translator.interrupted


def test_a_graph_without_an_interrupt_waits_for_nothing() -> None:
    assert interrupted_by(returns(), {"type": "values", "ns": (), "data": {"messages": []}}) is None


@pytest.mark.parametrize("kind", ["updates", "values"])
def test_an_interrupt_is_an_ending_with_what_was_asked(kind: str) -> None:
    ending = interrupted_by(interrupts(Interrupt({"question": "May I?"}, id="i-1"), kind=kind))
    assert ending == Interrupted((PendingInterrupt("i-1", {"question": "May I?"}),))


def test_interrupts_of_parallel_nodes_are_one_ending() -> None:
    one, two = Interrupt("one", id="i-1"), Interrupt("two", id="i-2")
    ending = interrupted_by(interrupts(one), interrupts(one, kind="values"), interrupts(two), returns())
    assert ending == Interrupted((PendingInterrupt("i-1", "one"), PendingInterrupt("i-2", "two")))


def test_an_interrupt_of_a_subgraph_names_the_graph_that_asked() -> None:
    asked, inner, outer = Interrupt("?", id="i-1"), ("team:1", "deep:2"), ("team:1",)
    ending = interrupted_by(interrupts(asked, ns=inner), interrupts(asked, ns=outer), interrupts(asked))
    assert ending == Interrupted((PendingInterrupt("i-1", "?", inner),))


def test_an_interrupt_that_an_outer_graph_caught_is_no_ending() -> None:
    assert interrupted_by(interrupts(Interrupt("?", id="i-1"), ns=("team:1",)), returns()) is None


def test_a_breakpoint_is_an_ending_that_asks_nothing() -> None:
    assert interrupted_by(interrupts()) == Interrupted(())


def test_what_an_interrupt_asks_is_not_in_its_repr() -> None:
    ending = interrupted_by(interrupts(Interrupt("hunter2-5f0c", id="i-1")))
    assert "i-1" in repr(ending)
    assert "hunter2" not in repr(ending)


@pytest.mark.parametrize("data", [{"node": None}, {"node": []}, {"node": "text"}, {"node": {"messages": None}}, {}])
def test_updates_without_messages_say_nothing(data: Any) -> None:
    assert gist(translated({"type": "updates", "ns": (), "data": data})) == ["completed"]


def test_parts_of_other_modes_say_nothing() -> None:
    assert gist(translated({"type": "custom", "ns": (), "data": "anything"})) == ["completed"]


def test_the_answer_so_far_leaves_commentary_out() -> None:
    translator = Translator(dialect=RESPONSES, head=ResponseHead(model="m"))
    for part in (
        token("Let me see.", run="a", message="ma", last=True),
        returns(AIMessage("Let me see.", id="ma", tool_calls=[CALL])),
        token("It ", run="b", message="mb"),
        token("is", run="b", message="mb"),
    ):
        list(translator.feed(part))
    assert translator.answer == "It is"
