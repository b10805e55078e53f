"""A token that goes on with a text takes a shorter way, and tells the same."""

import random
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk

from graph_agent.answer_form import IN_FORM
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.protocol.events import Event, ResponseHead, Usage
from graph_agent.protocol.translator import SPEAKER, Translator

TOKEN = "dapi" + "0123456789abcdef" * 2
RANDOM = ("id", "item_id", "created_at", "completed_at")
WORDS = [
    "word ",
    "",
    "dapi",
    TOKEN,
    TOKEN[:9],
    TOKEN[9:],
    "password",
    ": ",
    "hunter2 ",
    "\ud83d",
    "\ude00",
    "ä",
    "\n",
    "x" * 70_000,
]
MORE: list[dict[str, Any]] = [
    {"response_metadata": {"model_provider": "openai"}},
    {"response_metadata": {"finish_reason": "length"}},
    {"additional_kwargs": {"reasoning_content": "Hm."}},
    {"chunk_position": "last"},
    {"content": [{"type": "text", "text": "block"}]},
    {"tool_call_chunks": [{"name": "look", "args": "{}", "id": "c", "index": 0, "type": "tool_call_chunk"}]},
]


def parts_of(dice: random.Random) -> list[tuple[AIMessageChunk, dict[str, Any]]]:
    """The tokens of two models that speak at the same time."""
    parts = []
    for _ in range(dice.randint(5, 40)):
        speaker = dice.choice("ab")
        fields: dict[str, Any] = {"content": dice.choice(WORDS), "id": f"run-{speaker}"}
        if dice.random() < 0.15:
            fields |= dice.choice(MORE)
        parts.append((AIMessageChunk(**fields), {SPEAKER: speaker} | ({IN_FORM: True} if dice.random() < 0.1 else {})))
    return parts


def told(parts: list[tuple[AIMessageChunk, dict[str, Any]]], *, quick: bool, answer_only: bool) -> list[Event]:
    translator = Translator(dialect=RESPONSES, head=ResponseHead(model="agent"), answer_only=answer_only)
    events: list[Event] = []
    for message, metadata in parts:
        deltas = translator.next_delta(message, metadata) if quick else None
        if deltas is None:
            deltas = list(translator.feed({"type": "messages", "ns": (), "data": (message, metadata)}))
        events += deltas
    return [*events, *translator.finish(Usage())]


def without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_ids(one) for key, one in value.items() if key not in RANDOM}
    return [without_ids(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("answer_only", [False, True])
def test_the_shorter_way_tells_the_same(answer_only: bool) -> None:
    for seed in range(150):
        parts = parts_of(random.Random(seed))
        long, short = (without_ids(told(parts, quick=quick, answer_only=answer_only)) for quick in (False, True))
        assert short == long, seed


def test_it_is_taken_by_the_tokens_of_a_text() -> None:
    translator = Translator(dialect=RESPONSES, head=ResponseHead(model="agent"))
    first, second = (AIMessageChunk(text, id="run-a") for text in ("Good ", "day."))
    assert translator.next_delta(first, {SPEAKER: "a"}) is None
    list(translator.feed({"type": "messages", "ns": (), "data": (first, {SPEAKER: "a"})}))
    deltas = translator.next_delta(second, {SPEAKER: "a"})
    assert deltas is not None
    assert [one["delta"] for one in deltas] == ["day."]
