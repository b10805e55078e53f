"""What is heard of a stream, and every rule of its grammar that can be broken."""

import json
from typing import Any

import pytest

from graph_agent.evaluating.answer_stream import Listener
from graph_agent.evaluating.records import Turn


def message(text: str = "It is 8000. [1]", **more: Any) -> dict[str, Any]:
    note = {"type": "url_citation", "url": "docs/settings.md#port", "title": "Port", "start_index": 12, "end_index": 15}
    part = {"type": "output_text", "text": text, "annotations": [note]}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]} | more


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "search_docs", "arguments": '{"query": "port"}'}
RESULT = {"type": "function_call_output", "id": "fo_1", "call_id": "c1", "output": "[1] The port is 8000."}
SOURCE = {
    "number": 1,
    "doc_uri": "docs/settings.md#port",
    "chunk_id": "a",
    "title": "Port",
    "score": 0.9,
    "cited": True,
}


def events() -> list[dict[str, Any]]:
    """A stream as it should be: a search, its result, and an answer of two pieces."""
    answer = message()
    output = [CALL, RESULT, answer | {"phase": "final_answer"}]
    response = {
        "id": "resp_1",
        "status": "completed",
        "output": output,
        "usage": {"input_tokens": 10, "output_tokens": 4, "total_tokens": 14},
        "custom_outputs": {"sources": [SOURCE]},
    }
    whole: list[dict[str, Any]] = [{"type": "response.created"}, {"type": "response.in_progress"}]
    for place, item in enumerate([CALL, RESULT]):
        whole.append({"type": "response.output_item.added", "output_index": place, "item": item})
        whole.append({"type": "response.output_item.done", "output_index": place, "item": item})
    whole.append({"type": "response.output_item.added", "output_index": 2, "item": {"type": "message", "id": "msg_1"}})
    whole += [
        {"type": "response.output_text.delta", "item_id": "msg_1", "delta": piece} for piece in ("It is ", "8000. [1]")
    ]
    whole.append({"type": "response.output_item.done", "output_index": 2, "item": answer})
    whole.append({"type": "response.completed", "response": response})
    return [event | {"sequence_number": number} for number, event in enumerate(whole)]


def lines(whole: list[dict[str, Any]]) -> list[str]:
    return [*(f"data: {json.dumps(event)}" for event in whole), 'data: {"trace_id": "tr-1"}', "data: [DONE]"]


def heard(frames: list[str]) -> Turn:
    listener = Listener("Which port?")
    for second, frame in enumerate(frames):
        listener.feed(frame, seconds=float(second))
    return listener.end(seconds=99.0)


def test_a_whole_stream_is_heard_without_a_problem() -> None:
    turn = heard([": keep-alive", "", *lines(events())])
    assert turn.problems == []
    assert (turn.status, turn.answer, turn.trace_id) == ("completed", "It is 8000. [1]", "tr-1")
    assert turn.calls == [
        {
            "name": "search_docs",
            "arguments": {"query": "port"},
            "call_id": "c1",
            "output": "[1] The port is 8000.",
        }
    ]
    assert turn.retrieved == [SOURCE]
    assert turn.cited == ["docs/settings.md#port"]
    assert turn.usage["total_tokens"] == 14
    # The ninth line is the first piece of text.
    assert (turn.first_token_seconds, turn.seconds) == (9.0, 99.0)


def test_commentary_is_no_part_of_the_answer() -> None:
    whole = events()
    whole[-1]["response"]["output"][2]["phase"] = "commentary"
    turn = heard(lines(whole))
    assert (turn.answer, turn.cited) == ("", [])


def test_arguments_that_are_no_json_are_kept_as_they_are() -> None:
    whole = events()
    whole[-1]["response"]["output"][0] = CALL | {"arguments": "{port"}
    assert heard(lines(whole)).calls[0]["arguments"] == "{port"


def dropped(place: int) -> list[str]:
    whole = events()
    del whole[place]
    return lines([event | {"sequence_number": number} for number, event in enumerate(whole)])


def changed(place: int, **changes: Any) -> list[str]:
    whole = events()
    whole[place] |= changes
    return lines(whole)


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        (lines(events())[:-1], "no [DONE] at the end"),
        (lines(events())[:-3], "no terminal event"),
        ([*lines(events()), "data: {}"], "a frame after [DONE]"),
        (["event: x", *lines(events())], "a line that is not a frame"),
        (["data: {", *lines(events())], "a frame that is not JSON"),
        (dropped(0), "response.in_progress is event 1"),
        (changed(3, sequence_number=9), "has sequence_number 9, not 3"),
        (dropped(6), "response.output_text.delta for an item that is not open"),
        (dropped(7), "the deltas of item msg_1 are not its text"),
        (dropped(9), "items left open: msg_1"),
        (changed(4, output_index=7), "item fo_1 has output_index 7"),
        (changed(4, item=CALL), "item fc_1 was opened twice"),
        (changed(5, item=RESULT | {"id": "other"}), "item other was closed and is not open"),
        (
            changed(10, response=events()[10]["response"] | {"output": [RESULT, CALL]}),
            "a result of c1, which was not called before it",
        ),
        (
            changed(10, response=events()[10]["response"] | {"output": [CALL]}),
            "the response's output is not the items of the stream",
        ),
        (changed(10, response=None), "an event that cannot be read (TypeError)"),
        (changed(4, item=None), "an event that cannot be read (AttributeError)"),
        (["data: []", *lines(events())], "an event that cannot be read (AttributeError)"),
    ],
)
def test_a_broken_rule_is_a_problem(frames: list[str], problem: str) -> None:
    problems = heard(frames).problems
    assert any(one.startswith(problem) or problem in one for one in problems), problems


def test_an_annotation_of_another_kind_is_no_citation() -> None:
    whole = events()
    for item in (whole[9]["item"], whole[10]["response"]["output"][-1]):
        item["content"][0]["annotations"] = [{"type": "file_citation", "file_id": "f"}]
    assert heard(lines(whole)).cited == []
