"""Reasoning is told once, its parts apart; what a provider declares to be commentary is that."""

from typing import Any

import pytest
from langgraph.graph import MessagesState
from tests.graphs.scripted import says
from tests.runs.running import chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.testing import Blocks, Call, Reasoning

pytestmark = pytest.mark.anyio


def summary(text: str, *, block: int = 0, part: int = 0, id: str | None = None) -> Blocks:
    piece = {"type": "summary_text", "text": text, "index": part}
    return Blocks({"type": "reasoning", "summary": [piece], "index": block, **({"id": id} if id else {})})


def thinking(text: str, block: int = 0) -> Blocks:
    return Blocks({"type": "thinking", "thinking": text, "index": block})


def standard(text: str, block: str) -> Blocks:
    return Blocks({"type": "reasoning", "reasoning": text, "index": block})


PARTS: dict[str, list[Any]] = {
    "parts of a summary": [summary("One", part=0), summary(" thing.", part=0), summary("Another.", part=1)],
    "blocks of a summary": [summary("One thing.", block=0), summary("Another.", block=1)],
    "blocks of Anthropic's": [thinking("One "), thinking("thing."), thinking("Another.", 1)],
    "LangChain's blocks": [standard("One thing.", "lc_rs_0"), standard("Another.", "lc_rs_1")],
}


@pytest.mark.parametrize("kind", PARTS)
async def test_parts_of_reasoning_are_paragraphs(kind: str) -> None:
    events = await events_of(
        chain(speaking(says([*PARTS[kind], Blocks({"type": "text", "text": "Yes.", "index": 9})])))
    )
    (item, message) = events[-1]["response"]["output"]
    assert item["summary"] == [{"type": "summary_text", "text": "One thing.\n\nAnother."}]
    deltas = [event["delta"] for event in events if event["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(deltas) == "One thing.\n\nAnother."
    assert message["content"][0]["text"] == "Yes."


@pytest.mark.parametrize("kind", PARTS)
async def test_so_they_are_where_the_model_does_not_stream(kind: str) -> None:
    events = await events_of(chain(speaking(says((*PARTS[kind], Call("look")), disable_streaming=True))))
    assert events[-1]["response"]["output"][0]["summary"][0]["text"] == "One thing.\n\nAnother."


@pytest.mark.parametrize("thought", [Reasoning("Hm."), summary("Hm.", id="rs_1"), thinking("Hm.")])
async def test_reasoning_whose_message_got_another_id_is_told_once(thought: Any) -> None:
    model = says([thought, Call("look")])

    async def plan(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke(state["messages"])
        return {"messages": [said.model_copy(update={"id": "another"})]}

    assert [line for line in gist(await events_of(chain(plan))) if "- reasoning" in line] == ["0- reasoning 'Hm.'"]


async def test_two_models_that_think_the_same_are_told_both() -> None:
    model = says((Reasoning("Hm."), Call("look")), (Reasoning("Hm."), "Done."), disable_streaming=True)
    events = await events_of(chain(speaking(model, "first"), speaking(model, "second")))
    assert [line[1:] for line in gist(events) if "- reasoning" in line] == ["- reasoning 'Hm.'"] * 2


def declared(text: str, phase: str | None, block: int) -> Blocks:
    return Blocks({"type": "text", "text": text, "index": block, **({"phase": phase} if phase else {})})


async def test_what_a_provider_declares_to_be_commentary_is_an_item_of_its_own() -> None:
    turn = [
        declared("", "commentary", 0),
        declared("Let me ", None, 0),
        declared("think.", None, 0),
        declared("", "final_answer", 1),
        declared("42.", None, 1),
    ]
    events = await events_of(chain(speaking(says(turn))))
    assert gist(events) == [
        "0+ message",
        "0: Let me ",
        "0: think.",
        "0- message commentary completed 'Let me think.'",
        "1+ message",
        "1: 42.",
        "1- message final_answer completed '42.'",
        "completed",
    ]


async def test_so_it_is_in_one_piece() -> None:
    turn = (Blocks(declared("Let me think.", "commentary", 0).blocks[0], declared("42.", "final_answer", 1).blocks[0]),)
    events = await events_of(chain(speaking(says(turn, disable_streaming=True))))
    assert phases(events[-1]["response"]) == [("Let me think.", "commentary"), ("42.", "final_answer")]


async def test_declared_commentary_before_calls_stays_what_it_is() -> None:
    turn = [declared("I look.", "commentary", 0), Call("look")]
    events = await events_of(chain(speaking(says(turn))))
    assert phases(events[-1]["response"]) == [("I look.", "commentary")]


@pytest.mark.parametrize(
    "pieces",
    [
        ["Hi \ud83d", "\ude00!"],
        ["\ud83d", "\ude00", " and ", "\ud83d\ude00"],
        ["half \ud83d", " alone"],
        ["the end \ud83d"],
        ["\ude00 first"],
    ],
)
@pytest.mark.parametrize("told", ["text", "thought"])
async def test_deltas_equal_the_whole_where_a_model_cuts_a_character_in_two(pieces: list[str], told: str) -> None:
    turn: list[Any] = pieces if told == "text" else [*map(Reasoning, pieces), "Done."]
    events = await events_of(chain(speaking(says(turn))))
    kind = "output_text" if told == "text" else "reasoning_summary_text"
    deltas = [event["delta"] for event in events if event["type"] == f"response.{kind}.delta"]
    (done,) = [event["text"] for event in events if event["type"] == f"response.{kind}.done"][:1]
    assert "".join(deltas) == done
    done.encode()
    assert [item["type"] for item in events[-1]["response"]["output"]] == (
        ["message"] if told == "text" else ["reasoning", "message"]
    )
