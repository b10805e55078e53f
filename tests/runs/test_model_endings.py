"""How a model's own ending is told: cut off, filtered, declined, broken; and what its calls come to then."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool
from tests.graphs.scripted import says
from tests.runs.running import Graph, a_run, chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.errors import ModelFailed
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.testing import Blocks, Call, Finish

pytestmark = pytest.mark.anyio

DIALECTS = pytest.mark.parametrize(
    "dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"]
)
MODELS = pytest.mark.parametrize(
    "model", [says, lambda turn: says(turn, disable_streaming=True)], ids=["streamed", "whole"]
)

LENGTH: list[tuple[dict[str, Any], str]] = [
    ({"finish_reason": "length"}, "length"),
    ({"finish_reason": "MAX_TOKENS"}, "max_tokens"),
    ({"finish_reason": "lengthlength"}, "length"),
    ({"stop_reason": "max_tokens"}, "max_tokens"),
    ({"stop_reason": "model_context_window_exceeded"}, "model_context_window_exceeded"),
    ({"stopReason": "max_tokens"}, "max_tokens"),
    ({"done_reason": "length"}, "length"),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "max_output_tokens"),
]
FILTERED: list[tuple[dict[str, Any], str]] = [
    ({"finish_reason": "content_filter"}, "content_filter"),
    ({"finish_reason": "SAFETY"}, "safety"),
    ({"stop_reason": "refusal"}, "refusal"),
    ({"stopReason": "guardrail_intervened"}, "guardrail_intervened"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
]
BY_ITSELF: list[dict[str, Any]] = [
    {},
    {"finish_reason": "stop"},
    {"finish_reason": "tool_calls"},
    {"stop_reason": "end_turn"},
    {"stop_reason": None},
    {"status": "completed", "incomplete_details": None},
    {"finish_reason": 7, "model_name": "length"},
]


@MODELS
@pytest.mark.parametrize(
    ("metadata", "cause", "reason"),
    [(*one, "max_output_tokens") for one in LENGTH] + [(*one, "content_filter") for one in FILTERED],
)
async def test_an_answer_that_was_ended_is_incomplete_with_the_cause(
    model: Any, metadata: dict[str, Any], cause: str, reason: str
) -> None:
    for dialect in (RESPONSES, OPENAI):
        events = await events_of(chain(speaking(model(["The ans", Finish(**metadata)]))), dialect=dialect)
        response = events[-1]["response"]
        assert (events[-1]["type"], response["status"]) == ("response.incomplete", "incomplete")
        assert response["incomplete_details"]["reason"] == reason
        assert response["metadata"] == {"finish_reason": cause}
        assert phases(response) == [("The ans", "final_answer")]
        assert response["output"][-1]["status"] == "incomplete"


@pytest.mark.parametrize("metadata", BY_ITSELF)
async def test_an_answer_that_its_model_ended_is_complete(metadata: dict[str, Any]) -> None:
    events = await events_of(chain(speaking(says(["The answer.", Finish(**metadata)]))))
    assert events[-1]["type"] == "response.completed"
    assert events[-1]["response"]["metadata"] == {}


async def test_how_a_run_ended_is_known_to_who_records_it() -> None:
    run = a_run(chain(speaking(says(["The ans", Finish("length")]))))
    await events_of(run)
    assert run.status == "incomplete"


async def test_a_model_that_was_cut_off_on_the_way_is_no_incomplete_answer() -> None:
    thinking = says(["Hm", Finish("length")])

    async def think(state: Any) -> None:
        await thinking.ainvoke(state["messages"])

    events = await events_of(chain(think, speaking(says(["Fine."]))))
    assert events[-1]["type"] == "response.completed"


async def test_a_node_that_returns_the_cut_text_anew_does_not_make_it_whole() -> None:
    model = says(["The ans", Finish("length")])

    async def answer(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage((await model.ainvoke(state["messages"])).text)]}

    events = await events_of(chain(answer))
    assert events[-1]["type"] == "response.incomplete"


# -- calls ------------------------------------------------------------------------------------------------------------


def agent(*turns: Any, whole: bool = False) -> tuple[Graph, list[str]]:
    ran: list[str] = []

    @tool
    def delete(path: str = "/") -> str:
        """Delete."""
        ran.append(path)
        return f"deleted {path}"

    model = says(*turns, disable_streaming=True) if whole else says(*turns)
    return create_agent(model, [delete]), ran


@DIALECTS
@pytest.mark.parametrize("arguments", ['{"path": "/tm', '{"path": "/tmp"}', ""])
async def test_a_call_that_was_cut_off_is_not_run_and_the_run_is_incomplete(arguments: str, dialect: Dialect) -> None:
    graph, ran = agent(["I clean up. ", Call("delete", arguments), Finish("length")], ["never"])
    events = await events_of(graph, dialect=dialect)
    assert ran == []
    response = events[-1]["response"]
    assert response["incomplete_details"]["reason"] == "max_output_tokens"
    assert response["metadata"] == {"finish_reason": "length"}
    assert phases(response) == [("I clean up. ", "commentary")]
    assert "This call was not run: the model was cut off before it had finished." in str(response["output"][-1])


async def test_a_graph_that_ends_on_calls_its_model_was_cut_off_in_leaves_them_to_nobody() -> None:
    graph = chain(speaking(says([Call("delete", '{"path": "/"'), Finish(stop_reason="max_tokens")])))
    events = await events_of(graph)
    assert events[-1]["type"] == "response.incomplete"
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["function_call", "function_call_output"]


@pytest.mark.parametrize("id", ["call_1", ""])
@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        ("path=/tmp", False),
        ("path=/tmp", True),
        ('["/tmp"]', False),
        ('["/tmp"]', True),
        # Read whole where it does not stream.
        ('{"path": "/tm', False),
    ],
)
async def test_malformed_arguments_go_back_to_the_model_as_an_error(arguments: str, id: str, whole: bool) -> None:
    good = Call("delete", '{"path": "/tmp"}', "good")
    graph, ran = agent([Call("delete", arguments, id)], [good], ["Done."], whole=whole)
    events = await events_of(graph)
    assert ran == ["/tmp"]
    results = [one["output"] for one in events[-1]["response"]["output"] if one["type"] == "function_call_output"]
    assert results[0].startswith("This call was not run: its arguments were not a JSON object.")
    assert results[1] == "deleted /tmp"
    assert phases(events[-1]["response"]) == [("Done.", "final_answer")]


async def test_a_mended_call_under_the_same_id_is_run() -> None:
    graph, ran = agent([Call("delete", "path=/tmp", "c")], [Call("delete", '{"path": "/tmp"}', "c")], ["Done."])
    await events_of(graph)
    assert ran == ["/tmp"]


# -- refusals ---------------------------------------------------------------------------------------------------------

DECLINED = "I cannot help with that."
REFUSALS: dict[str, list[Any]] = {
    "a block": [Blocks({"type": "refusal", "refusal": DECLINED, "index": 0})],
    "blocks": [
        Blocks({"type": "refusal", "refusal": "I cannot ", "index": 0}),
        Blocks({"type": "refusal", "refusal": "help with that.", "index": 0}),
    ],
    "beside": [AIMessageChunk("", additional_kwargs={"refusal": DECLINED})],
    "beside, streamed": [
        AIMessageChunk("", additional_kwargs={"refusal": "I cannot "}),
        AIMessageChunk("", additional_kwargs={"refusal": "help with that."}),
    ],
    "as the newer blocks have it": [
        Blocks({"type": "non_standard", "value": {"type": "refusal", "refusal": DECLINED}})
    ],
}


@DIALECTS
@MODELS
@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_refusal_is_a_part_of_its_own_with_its_events(kind: str, model: Any, dialect: Dialect) -> None:
    events = await events_of(chain(speaking(model(REFUSALS[kind]))), dialect=dialect)
    (item,) = events[-1]["response"]["output"]
    assert item["content"] == [{"type": "refusal", "refusal": DECLINED}]
    assert item["phase"] == "final_answer"
    assert events[-1]["type"] == "response.completed"
    kinds = [event["type"] for event in events]
    assert kinds[3:4] == ["response.content_part.added"]
    deltas = [event["delta"] for event in events if event["type"] == "response.refusal.delta"]
    (done,) = [event for event in events if event["type"] == "response.refusal.done"]
    assert "".join(deltas) == done["refusal"] == DECLINED
    assert "response.output_text.delta" not in kinds


async def test_text_before_a_refusal_is_a_part_beside_it() -> None:
    turn = ["Well. ", AIMessageChunk("", additional_kwargs={"refusal": "No."})]
    events = await events_of(chain(speaking(says(turn))))
    (item,) = events[-1]["response"]["output"]
    assert [(part["type"], part.get("text") or part.get("refusal")) for part in item["content"]] == [
        ("output_text", "Well. "),
        ("refusal", "No."),
    ]
    places = [event["content_index"] for event in events if event["type"] == "response.content_part.done"]
    assert places == [0, 1]


# -- what is no text --------------------------------------------------------------------------------------------------

MEDIA: list[tuple[dict[str, Any], str]] = [
    ({"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}, "![image](https://x.org/a.png)"),
    ({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}, "[image/png]"),
    ({"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/jpeg"}, "[image/jpeg]"),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}, "[image/png]"),
    ({"type": "image_generation_call", "result": "iVBORw0KGgo="}, "[image]"),
    ({"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}, "[audio/wav]"),
    ({"type": "file", "url": "https://x.org/a.pdf"}, "[file](https://x.org/a.pdf)"),
    ({"type": "image", "url": "javascript:alert(1)"}, "[image]"),
    ({"type": "poem", "verses": 3}, "[poem]"),
]


@MODELS
@pytest.mark.parametrize(("block", "named"), MEDIA)
async def test_an_answer_that_is_no_text_is_named(block: dict[str, Any], named: str, model: Any) -> None:
    events = await events_of(chain(speaking(model([Blocks(block)]))))
    assert phases(events[-1]["response"]) == [(named, "final_answer")]


async def test_an_image_that_comes_in_pieces_beside_text_is_named_once() -> None:
    turn = [
        Blocks({"type": "text", "text": "See: ", "index": 0}),
        Blocks({"type": "image", "base64": "iVBO", "mime_type": "image/png", "index": 1}),
        Blocks({"type": "image", "base64": "Rw0K", "index": 1}),
    ]
    events = await events_of(chain(speaking(says(turn))))
    assert phases(events[-1]["response"]) == [("See: [image/png]", "final_answer")]


async def test_what_a_model_speaks_is_told_as_its_transcript() -> None:
    sound = AIMessageChunk("", additional_kwargs={"audio": {"data": "AAAA", "transcript": "Hello."}})
    events = await events_of(chain(speaking(says((sound,), disable_streaming=True))))
    assert phases(events[-1]["response"]) == [("Hello.", "final_answer")]


# -- errors -----------------------------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("metadata", [{"finish_reason": "error"}, {"status": "failed"}])
async def test_an_endpoint_that_ends_with_an_error_fails_the_run(model: Any, metadata: dict[str, Any]) -> None:
    run = a_run(chain(speaking(model(["Half an ans", Finish(**metadata)]))))
    events = await events_of(run)
    assert gist(events)[-1] == "failed"
    assert isinstance(run.failure, ModelFailed)
