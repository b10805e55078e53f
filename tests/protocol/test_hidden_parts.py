"""Secrets in the parts of an answer that are not its words: names and ids of calls, places of citations."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolMessage
from tests.protocol.test_translator import DIALECTS, returns, token, translated

from graph_agent.protocol.dialects import Dialect
from graph_agent.redaction import redact
from graph_agent.redaction.offsets import OffsetMap

TOKEN = "dapi" + "0123456789abcdef" * 2


@DIALECTS
def test_a_call_s_name_and_id_tell_no_secret(dialect: Dialect) -> None:
    call = {"name": f"use_{TOKEN}", "args": {TOKEN: TOKEN}, "id": f"call_{TOKEN}", "type": "tool_call"}
    asked = AIMessage("", id="m-1", tool_calls=[call])
    result = ToolMessage(f"no tool use_{TOKEN}", tool_call_id=call["id"], status="error")
    told = translated(returns(asked), returns(result), returns(AIMessage("Done.", id="m-2")), dialect=dialect)
    assert TOKEN not in json.dumps(told)
    items = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    # Call and result still belong together.
    ids = {item["call_id"] for item in items if item["type"] in ("function_call", "function_call_output")}
    assert len(ids) == (0 if dialect.tool_items == "mcp_call" else 1)


def test_a_citation_stands_where_its_words_stand_in_what_is_shown() -> None:
    text = f"The key {TOKEN} is old [1], and password=hunter2-5f0c too [2]."
    marks = [(text.index(mark), text.index(mark) + 3) for mark in ("[1]", "[2]")]
    notes = [
        {"type": "citation", "url": "a.md", "title": "A", "start_index": start, "end_index": end}
        for start, end in marks
    ]
    block = {"type": "text", "text": text, "annotations": notes}
    told = translated(token(text), token("", last=True), returns(AIMessage([block], id="m-1")))
    (part,) = [event["part"] for event in told if event["type"] == "response.content_part.done"]
    assert part["text"] == redact(text)
    places = [part["text"][one["start_index"] : one["end_index"]] for one in part["annotations"]]
    assert places == ["[1]", "[2]"]


PARTS = st.lists(st.sampled_from(["word ", "[1]", f"{TOKEN} ", "password=hunter2-5f0c ", "Größe "]), min_size=1)


@given(PARTS, st.data())
def test_every_place_outside_of_a_secret_is_found_again(parts: list[str], data: st.DataObject) -> None:
    written = "".join(parts)
    shown = redact(written)
    shift = OffsetMap(written, shown)
    at = data.draw(st.integers(0, len(parts) - 1))
    start = len("".join(parts[:at]))
    end = start + len(parts[at])
    assert 0 <= shift.start(start) <= shift.end(end) <= len(shown)
    if redact(parts[at]) == parts[at]:
        assert shown[shift.start(start) : shift.end(end)] == parts[at]


@pytest.mark.parametrize("place", [0, 10, 1_000])
def test_places_beyond_the_text_stay_within_what_is_shown(place: int) -> None:
    shift = OffsetMap(TOKEN, redact(TOKEN))
    assert 0 <= shift.start(place) <= len(redact(TOKEN))
    assert 0 <= shift.end(place) <= len(redact(TOKEN))
