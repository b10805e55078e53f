"""A run that goes on after its process died, wherever its log and its checkpoint stopped.

A scenario is a list of super-steps. A process may die after any event; the log then holds the events up to there, and
the checkpoint the messages of any step. The steps after the checkpoint run again, with new ids of models and messages.
"""

import copy
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from tests.protocol.test_translator import CALL, DIALECTS, Part, returns, token
from tests.serving.test_recorded_streams import RECORDED, recorded

from graph_agent.errors import GraphFailed
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.events import ITEMS_DISCARDED, Event, Item, ResponseHead, Usage
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.translator import Translator

SECRET = "dapi" + "0123456789abcdef" * 2
ASKED = HumanMessage("Weather?", id="asked")
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


@dataclass(frozen=True)
class Step:
    """A super-step: what its nodes return, and what they stream before, given an attempt's number."""

    messages: tuple[BaseMessage, ...]
    stream: Callable[[str], list[Part]]


def spoken(message: AIMessage, *tokens: Any, thought: str = "") -> Step:
    """A node whose model streams the message and which returns it."""

    def stream(attempt: str) -> list[Part]:
        run, name = f"run-{message.id}-{attempt}", f"{message.id}"
        thinking = [token([{"type": "reasoning", "reasoning": thought}], run=run, message=name)] if thought else []
        return [
            *thinking,
            *(token(one, run=run, message=name) for one in tokens),
            token("", run=run, message=name, last=True),
        ]

    return Step((message,), stream)


def results(*messages: ToolMessage, inputs: Sequence[Any] = ({"where": "here"},)) -> Step:
    """Tools that start, and return these results."""

    def stream(attempt: str) -> list[Part]:
        started = [
            {"event": "tool-started", "tool_call_id": one.tool_call_id, "input": args}
            for one, args in zip(messages, inputs, strict=True)
        ]
        return [{"type": "tools", "ns": (), "data": data} for data in started]

    return Step(messages, stream)


def silent(*messages: BaseMessage) -> Step:
    return Step(messages, lambda attempt: [])


def call(id: str, **args: Any) -> dict[str, Any]:
    return {"name": "look", "args": args, "id": id, "type": "tool_call"}


CITED = [{"type": "text", "text": "It is 18 degrees.", "annotations": [
    {"type": "citation", "url": "https://a.example/b", "title": "A", "start_index": 0, "end_index": 5}]}]  # fmt: skip
TWO = [call("1", where="Rome"), call("1", where="Oslo")]

SCENARIOS: dict[str, list[Step]] = {
    "one answer": [spoken(AIMessage("Hello world.", id="m1"), "Hello ", "world.")],
    "an agent with a tool": [
        spoken(AIMessage("Let me look.", id="m1", tool_calls=[CALL]), "Let me ", "look.", thought="Hm, weather."),
        results(ToolMessage("seen", tool_call_id="call_1", id="t1")),
        spoken(AIMessage(CITED, id="m2"), "It is ", "18 ", "degrees.", thought="Now I know."),
    ],
    "the same call twice, under one id": [
        silent(AIMessage("", id="m1", tool_calls=[CALL])),
        results(ToolMessage("one", tool_call_id="call_1", id="t1")),
        silent(AIMessage("", id="m2", tool_calls=[CALL])),
        results(ToolMessage("two", tool_call_id="call_1", id="t2")),
        silent(AIMessage("Done.", id="m3")),
    ],
    "parallel calls that share an id": [
        spoken(AIMessage("Both.", id="m1", tool_calls=TWO), "Both."),
        results(
            ToolMessage("facts on Rome", tool_call_id="1", id="t1"),
            ToolMessage("facts on Oslo", tool_call_id="1", id="t2"),
            inputs=({"where": "Rome"}, {"where": "Oslo"}),
        ),
        spoken(AIMessage("Done.", id="m2"), "Done."),
    ],
    "secrets": [
        spoken(AIMessage(f"A {SECRET}.", id="m1", tool_calls=[call(SECRET, key=SECRET)]), f"A {SECRET}."),
        results(ToolMessage(f"token {SECRET}", tool_call_id=SECRET, id="t1"), inputs=({"key": SECRET},)),
        spoken(AIMessage(f"The key is {SECRET}.", id="m2"), "The key ", f"is {SECRET}", "."),
    ],
    "half of a character": [
        spoken(AIMessage("A \ud83d.", id="m1", tool_calls=[call("1", where="\ud83d")]), "A \ud83d.", thought="\ud83d?"),
        results(ToolMessage("seen \ud83d", tool_call_id="1", id="t1"), inputs=({"where": "\ud83d"},)),
        spoken(AIMessage("The \ud83d.", id="m2"), "The ", "\ud83d."),
    ],
    # No message of the checkpoint repeats such a text, so a log that ends with it cannot show that its node had ended.
    "a failed tool, and a text that its node rewrites": [
        silent(AIMessage("", id="m1", tool_calls=[CALL])),
        results(ToolMessage("no", tool_call_id="call_1", id="t1", status="error")),
        spoken(AIMessage("Something else.", id="m2"), "Draft", "."),
        spoken(AIMessage("The end.", id="m3"), "The ", "end."),
    ],
    "calls that the client is to answer": [
        spoken(AIMessage("Over to you.", id="m1", tool_calls=[CALL]), "Over to ", "you.", thought="Hm."),
    ],
    "one after the other": [
        spoken(AIMessage("First.", id="m1"), "First."),
        spoken(AIMessage("Second.", id="m2"), "Second."),
        silent(AIMessage("Third.", id="m3")),
    ],
}  # fmt: skip
FOUND = SCENARIOS["an agent with a tool"]
ANOTHER = results(ToolMessage("seen before", tool_call_id="call_1", id="t0"))
REWRITTEN = "a failed tool, and a text that its node rewrites"
SCENARIO = pytest.mark.parametrize("name", SCENARIOS)
EXACT = pytest.mark.parametrize("name", [name for name in SCENARIOS if name != REWRITTEN])


def inputs_of(message: ToolMessage) -> Any:
    return {"where": message.text.removeprefix("facts on ")} if message.text.startswith("facts on ") else None


BACKGROUND = pytest.mark.parametrize("background", [False, True], ids=["foreground", "background"])
OPENING = {
    False: ["response.created", "response.in_progress"],
    True: ["response.created", "response.queued", "response.in_progress"],
}


def options(dialect: Dialect, background: bool = False) -> dict[str, Any]:
    head = ResponseHead(model="m", background=background)
    return {"dialect": dialect, "head": head, "known": [ASKED], "inputs_of": inputs_of}


def state_after(steps: Iterable[Step]) -> dict[str, Any]:
    return {"messages": [ASKED, *(copy.deepcopy(one) for step in steps for one in step.messages)]}


def parts_of(steps: Sequence[Step], before: Sequence[Step], attempt: str) -> list[list[Part]]:
    """The parts of each step."""
    found = []
    for place, step in enumerate(steps):
        values = {"type": "values", "ns": (), "data": state_after([*before, *steps[: place + 1]])}
        messages = [copy.deepcopy(one) for one in step.messages]
        found.append([*step.stream(attempt), *(returns(one) for one in messages), values])
    return found


def run(
    translator: Translator, steps: Sequence[list[Part]], *, begin: Iterable[Event] = ()
) -> tuple[list[Event], list[int]]:
    """Every event, as a log keeps it, and how many there are after the start and after each step."""
    events: list[Event] = []
    counts = []

    def keep(some: Iterable[Event]) -> None:
        events.extend(json.loads(encode(one)) for one in some)

    keep(begin)
    keep(translator.start())
    counts.append(len(events))
    for parts in steps:
        for part in parts:
            keep(translator.feed(part))
        counts.append(len(events))
    keep(translator.finish(Usage()))
    return events, counts


def uncut(name: str, dialect: Dialect, background: bool = False) -> tuple[list[Event], list[int]]:
    translator = Translator(**options(dialect, background))
    begin = translator.queued() if background else ()
    return run(translator, parts_of(SCENARIOS[name], (), "1"), begin=begin)


def gone_on(
    log: list[Event], name: str, step: int, dialect: Dialect, attempt: str = "2", *, background: bool = False
) -> list[Event]:
    """The whole log when a run goes on behind `log`, from the checkpoint after `step` steps."""
    before, steps = SCENARIOS[name][:step], SCENARIOS[name][step:]
    translator = Translator.restored(copy.deepcopy(log), state=state_after(before), **options(dialect, background))
    if translator.ended:
        return log
    events, _ = run(translator, parts_of(steps, before, attempt))
    return log + events


def said(output: Iterable[Item]) -> list[Any]:
    """Items without their ids."""
    return [{key: value for key, value in item.items() if key not in ("id", "call_id")} for item in output]


def lasting(output: Iterable[Item]) -> list[Any]:
    """The same without what is said on the way: that is lost where the log was lost."""
    return [one for one in said(output) if one["type"] != "reasoning" and one.get("phase") != "commentary"]


def check(log: list[Event], background: bool = False) -> None:
    """The grammar: every item is opened and closed once, one terminal event comes last, and the output is right."""
    opened = [one["output_index"] for one in log if one["type"] == "response.output_item.added"]
    closed = {one["output_index"]: one["item"] for one in log if one["type"] == "response.output_item.done"}
    assert opened == list(range(len(opened)))
    assert sorted(one["output_index"] for one in log if one["type"] == "response.output_item.done") == opened
    responses = [one for one in log if "response" in one]
    assert [one["type"] for one in log[: len(OPENING[background])]] == OPENING[background]
    assert [one["type"] for one in responses] == [*OPENING[background], log[-1]["type"]]
    assert {one["response"]["background"] for one in responses} == {background}
    assert [one["type"] for one in log if one["type"] in TERMINAL] == [log[-1]["type"]]
    assert len({one["response"]["id"] for one in log if "response" in one}) == 1
    discarded = {index for one in log if one["type"] == ITEMS_DISCARDED for index in one["output_indexes"]}
    output = [closed[index] for index in opened if index not in discarded]
    assert [one["id"] for one in log[-1]["response"]["output"]] == [one["id"] for one in output]
    for index, item in closed.items():
        told = "".join(one["delta"] for one in log if one.get("output_index") == index and "delta" in one)
        parts = item.get("content") or item.get("summary") or ()
        whole = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
        assert told == (whole if item["type"] in ("message", "reasoning") else item.get("arguments", ""))
    calls = [one["call_id"] for one in output if one["type"] == "function_call"]
    answers = [one["call_id"] for one in output if one["type"] == "function_call_output"]
    assert len(set(calls)) == len(calls)
    assert set(answers) <= set(calls)
    assert len(set(answers)) == len(answers)
    assert SECRET not in json.dumps(log)


@BACKGROUND
@DIALECTS
@EXACT
def test_wherever_a_log_stops_ahead_of_its_checkpoint_the_output_is_that_of_one_run(
    name: str, dialect: Dialect, background: bool
) -> None:
    events, counts = uncut(name, dialect, background)
    check(events, background)
    for step in range(len(counts)):
        for place in range(counts[step], len(events)):
            log = gone_on(events[:place], name, step, dialect, background=background)
            check(log, background)
            assert said(log[-1]["response"]["output"]) == said(events[-1]["response"]["output"]), (step, place)


@DIALECTS
@SCENARIO
def test_wherever_log_and_checkpoint_stop_nothing_that_lasts_is_missing(name: str, dialect: Dialect) -> None:
    events, counts = uncut(name, dialect)
    for step in range(len(counts)):
        for place in range(len(events)):
            log = gone_on(events[:place], name, step, dialect)
            check(log)
            assert lasting(log[-1]["response"]["output"]) == lasting(events[-1]["response"]["output"]), (step, place)


@DIALECTS
@EXACT
def test_a_run_that_was_queued_starts_once_however_often_its_process_dies_before(name: str, dialect: Dialect) -> None:
    events, _ = uncut(name, dialect, background=True)
    for place in (2, 3):
        log = gone_on(events[:place], name, 0, dialect, background=True)
        assert [one["type"] for one in log] == [one["type"] for one in events]
        check(log, background=True)


@DIALECTS
@EXACT
def test_between_two_steps_a_run_goes_on_with_exactly_the_events_that_were_missing(name: str, dialect: Dialect) -> None:
    events, counts = uncut(name, dialect)
    for step, count in enumerate(counts):
        log = gone_on(events[:count], name, step, dialect)
        opened = sum(one["type"] == "response.output_item.added" for one in events[:count])
        closed = sum(one["type"] == "response.output_item.done" for one in events[:count])
        if opened == closed:
            assert [one["type"] for one in log] == [one["type"] for one in events], step
            told = [one["item"]["id"] for one in events[:count] if one["type"] == "response.output_item.done"]
            assert [one["id"] for one in log[-1]["response"]["output"]][: len(told)] == told


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    dialect=st.sampled_from([INVOCATIONS, RESPONSES, OPENAI]),
    deaths=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), min_size=1, max_size=4),
)
# The second death is between the result that stands in for a tool's and the event that discards it.
@example(name=REWRITTEN, dialect=RESPONSES, deaths=[(6, 0), (8, 2)])
@example(name=REWRITTEN, dialect=OPENAI, deaths=[(6, 1), (8, 2)])
@example(name="parallel calls that share an id", dialect=OPENAI, deaths=[(18, 2), (20, 2)])
# The first call is discarded; the second call of its id is told before the third death.
@example(name="the same call twice, under one id", dialect=RESPONSES, deaths=[(3, 0), (11, 1), (17, 0)])
def test_a_run_may_die_again_and_again(name: str, dialect: Dialect, deaths: list[tuple[int, int]]) -> None:
    """Each death leaves so many events of the log, and a checkpoint after so many steps."""
    whole, counts = uncut(name, dialect)
    log, step = whole, 0
    for attempt, (events, steps) in enumerate(deaths, start=2):
        log = log[: min(events, len(log) - 1)]
        step = min(max(steps, step), len(counts) - 1)
        log = gone_on(log, name, step, dialect, str(attempt))
    check(log)
    assert lasting(log[-1]["response"]["output"]) == lasting(whole[-1]["response"]["output"])


@DIALECTS
def test_the_result_in_the_checkpoint_counts_where_the_log_has_one_of_another_attempt(dialect: Dialect) -> None:
    name = "an agent with a tool"
    first, counts = run(Translator(**options(dialect)), parts_of([FOUND[0], ANOTHER, FOUND[2]], (), "0"))
    whole, _ = uncut(name, dialect)
    for step in (2, 3):
        for place in range(counts[step]):
            log = gone_on(first[:place], name, step, dialect)
            check(log)
            # Where the log has a later message, the result follows it.
            output = [sorted(map(json.dumps, lasting(one[-1]["response"]["output"]))) for one in (log, whole)]
            assert output[0] == output[1], (step, place)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.jsonl") if path.stem != "conversation"))
def test_wherever_a_recorded_stream_stops_it_can_be_closed(name: str) -> None:
    events = recorded(name)
    dialect = OPENAI if "openai" in name else INVOCATIONS if "invocations" in name else RESPONSES
    for place in range(len(events) + 1):
        translator = Translator.restored(copy.deepcopy(events[:place]), **options(dialect))
        assert translator.ended == (place == len(events))
        log = [*events[:place], *translator.start()]
        if not translator.ended:
            log += translator.fail(GraphFailed("the graph failed"), Usage())
        assert translator.status == events[-1].get("response", {"status": "failed"})["status"] or place < len(events)
        opened = [one["output_index"] for one in log if one["type"] == "response.output_item.added"]
        closed = [one["output_index"] for one in log if one["type"] == "response.output_item.done"]
        assert opened == sorted(closed) == list(range(len(opened)))
        assert sum(one["type"] in TERMINAL for one in log) == (dialect is not INVOCATIONS)


def test_a_response_that_has_ended_keeps_its_output_and_tells_nothing_more() -> None:
    events, _ = uncut("an agent with a tool", RESPONSES)
    translator = Translator.restored(events, **options(RESPONSES))
    assert (translator.ended, translator.status) == (True, "completed")
    assert list(translator.start()) == []
    assert translator.output == events[-1]["response"]["output"]
    assert translator.answer == "It is 18 degrees."


def test_custom_outputs_of_the_checkpoint_are_in_the_response() -> None:
    state = state_after(()) | {"custom_outputs": {"kept": 1, "token": SECRET}}
    translator = Translator.restored([], state=state, **options(RESPONSES))
    *_, last = [*translator.start(), *translator.finish(Usage())]
    assert last["response"]["custom_outputs"]["kept"] == 1
    assert SECRET not in json.dumps(last)
