"""The official OpenAI SDK, unmodified, against `/v1`."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import Response, ResponseOutputMessage
from openai.types.responses.response_output_item import McpCall
from tests.serving.conftest import Service

pytestmark = pytest.mark.anyio

ANSWER = "It is sunny in Paris and mild in Rome."


@pytest.fixture
def client(service: Service) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(service: Service) -> Any:
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def messages(response: Response) -> list[tuple[str, str | None]]:
    return [
        (item.content[0].text, item.phase)  # type: ignore[union-attr]
        for item in response.output
        if isinstance(item, ResponseOutputMessage)
    ]


def check_team(response: Response) -> None:
    """The whole answer of the `team` graph as the SDK understood it."""
    assert response.status == "completed"
    assert response.model == "team"
    assert [item.type for item in response.output] == [
        "reasoning",
        "message",
        "mcp_call",
        "mcp_call",
        "mcp_call",
        "message",
        "message",
    ]
    assert messages(response) == [
        ("Let me look that up.", "commentary"),
        ("Notes: two cities.", "commentary"),
        (ANSWER, "final_answer"),
    ]
    calls = [item for item in response.output if isinstance(item, McpCall)]
    assert [(call.name, call.arguments, call.output, call.error, call.status) for call in calls] == [
        ("weather", '{"city": "Paris"}', '{"city": "Paris", "sky": "clear"}', None, "completed"),
        ("weather", '{"city": "Rome"}', '{"city": "Rome", "sky": "clear"}', None, "completed"),
        ("broken", "{}", None, "the tool 'broken' failed", "failed"),
    ]
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (49, 21, 70)


def test_create_with_a_string(client: OpenAI) -> None:
    response = client.responses.create(model="plain", input="Hello?")
    assert response.output_text == "Hello world."
    assert response.object == "response"


def test_create_with_a_list(client: OpenAI) -> None:
    response = client.responses.create(
        model="echo",
        instructions="Be short.",
        input=[
            {"role": "user", "content": "One"},
            {"role": "assistant", "content": "Two"},
            {"role": "user", "content": [{"type": "input_text", "text": "Three"}]},
        ],
    )
    assert json.loads(response.output_text) == [
        ["system", "Be short.", []],
        ["human", "One", []],
        ["ai", "Two", []],
        ["human", "Three", []],
    ]


def test_create_understands_every_item(client: OpenAI) -> None:
    check_team(client.responses.create(model="team", input="Weather?"))


def test_create_streaming_gives_typed_events_in_order(client: OpenAI) -> None:
    events = list(client.responses.create(model="plain", input="Hello?", stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))


def test_the_streaming_accumulator_reaches_the_final_response(client: OpenAI) -> None:
    with client.responses.stream(model="team", input="Weather?") as stream:
        said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert said == f"Let me look that up.Notes: two cities.{ANSWER}"
    check_team(final)


def test_the_accumulators_snapshots_grow_with_the_text(client: OpenAI) -> None:
    with client.responses.stream(model="plain", input="Hello?") as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
    assert snapshots == ["Hello ", "Hello world."]


def test_output_items_resent_with_the_next_turn_are_understood(client: OpenAI) -> None:
    first = client.responses.create(model="team", input="Weather?")
    history: list[Any] = [{"role": "user", "content": "Weather?"}, *first.output]
    second = client.responses.create(model="echo", input=[*history, {"role": "user", "content": "And now?"}])
    heard = json.loads(second.output_text)
    assert [(kind, calls) for kind, _, calls in heard] == [
        ("human", []),
        ("ai", ["weather"]),
        ("tool", []),
        ("ai", ["weather"]),
        ("tool", []),
        ("ai", ["broken"]),
        ("tool", []),
        ("ai", []),
        ("ai", []),
        ("human", []),
    ]
    third = client.responses.create(
        model="echo", input=[*history, *second.output, {"role": "user", "content": "Thanks."}]
    )
    assert len(json.loads(third.output_text)) == len(heard) + 1


def test_dumped_output_items_are_understood_as_well(client: OpenAI) -> None:
    first = client.responses.create(model="team", input="Weather?")
    dumped: list[Any] = [item.model_dump() for item in first.output]
    second = client.responses.create(model="echo", input=[*dumped, {"role": "user", "content": "And now?"}])
    assert second.status == "completed"


def test_custom_outputs_are_an_attribute_and_custom_inputs_an_extra_field(client: OpenAI) -> None:
    response = client.responses.create(model="echo", input="Hi", extra_body={"custom_inputs": {"session_id": "s"}})
    assert response.custom_outputs == {"heard": 1, "thread_id": "s"}  # type: ignore[attr-defined]


def test_metadata_comes_back(client: OpenAI) -> None:
    response = client.responses.create(model="plain", input="Hi", metadata={"ticket": "7"}, store=False)
    assert response.metadata == {"ticket": "7"}


def test_an_error_before_the_first_byte_is_the_sdks_own_exception(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="plain", input="Hi", prompt={"id": "p"})
    assert (raised.value.param, raised.value.code) == ("prompt", "unsupported_field")
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="plian", input="Hi")
    assert missing.value.param == "model"
    assert "Did you mean 'plain'?" in missing.value.message


def test_a_failed_reply_is_the_sdks_own_exception(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        client.responses.create(model="failing", input="Hi", extra_body={"custom_inputs": {"fail": "before"}})
    assert raised.value.code == "graph_failed"


def test_a_failed_stream_is_the_sdks_own_exception(client: OpenAI) -> None:
    seen = []
    stream = client.responses.create(
        model="failing", input="Hi", stream=True, extra_body={"custom_inputs": {"fail": "after"}}
    )
    with pytest.raises(openai.APIError) as raised:
        seen.extend(event.type for event in stream)
    assert raised.value.code == "graph_failed"
    assert seen[-1] == "response.output_item.done"


def test_a_budget_ends_a_stream_as_incomplete(client: OpenAI) -> None:
    stream = client.responses.create(model="busy", input="Work.", stream=True, max_tool_calls=2, store=False)
    last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.metadata == {"budget": "tool_calls"}
    said = "I stopped here: this answer would take more tool calls than one run may use."
    assert last.response.incomplete_details.model_extra == {"message": said}
    assert last.response.output_text == ""


def test_a_budget_ends_a_reply_as_incomplete(client: OpenAI) -> None:
    response = client.responses.create(model="busy", input="Please talk.", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.output_text == "0 1 2 "
    assert response.incomplete_details is not None
    assert response.incomplete_details.model_extra == {
        "message": "I stopped here: the length limit of one run was reached."
    }


def test_the_accumulator_reads_an_incomplete_stream_to_its_end(client: OpenAI) -> None:
    with client.responses.stream(model="busy", input="Please talk.", max_output_tokens=3) as stream:
        events = list(stream)
    assert events[-1].type == "response.incomplete"


async def test_the_async_client_creates_streams_and_accumulates(async_client: AsyncOpenAI) -> None:
    whole = await async_client.responses.create(model="plain", input="Hello?")
    assert whole.output_text == "Hello world."
    stream = await async_client.responses.create(model="plain", input="Hello?", stream=True)
    assert [event.delta async for event in stream if event.type == "response.output_text.delta"] == [
        "Hello ",
        "world.",
    ]
    async with async_client.responses.stream(model="team", input="Weather?") as accumulating:
        check_team(await accumulating.get_final_response())


@pytest.mark.parametrize("mood", ["refuse", "hesitate"])
def test_a_refusal_is_typed_as_one(client: OpenAI, mood: str) -> None:
    events = list(client.responses.create(model="moody", input=mood, stream=True))
    deltas = [event.delta for event in events if event.type == "response.refusal.delta"]
    (done,) = [event.refusal for event in events if event.type == "response.refusal.done"]
    assert "".join(deltas) == done == "I cannot help with that."
    (message,) = client.responses.create(model="moody", input=mood).output
    assert message.type == "message"
    assert [part.type for part in message.content][-1] == "refusal"


@pytest.mark.parametrize(("mood", "reason"), [("cut", "max_output_tokens"), ("filter", "content_filter")])
def test_an_answer_that_was_ended_is_incomplete(client: OpenAI, mood: str, reason: str) -> None:
    response = client.responses.create(model="moody", input=mood)
    assert (response.status, response.output_text) == ("incomplete", "The ans")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == reason


def test_a_call_that_the_graph_ends_on_is_the_clients_to_answer(client: OpenAI) -> None:
    first = client.responses.create(model="moody", input="client")
    assert first.output_text == "I need this. "
    call = first.output[-1]
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("open_door", '{"door": "front"}')
    history: list[Any] = [{"role": "user", "content": "client"}, *first.output]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "opened"}
    second = client.responses.create(model="moody", input=[*history, result])
    assert second.output_text == "It is open."


def test_calls_whose_provider_gave_them_one_id_are_items_of_their_own(client: OpenAI) -> None:
    calls = [item for item in client.responses.create(model="moody", input="again").output if item.type == "mcp_call"]
    assert [(item.arguments, item.output) for item in calls] == [
        ('{"step": "a"}', "did a"),
        ('{"step": "b"}', "did b"),
    ]
    assert len({item.id for item in calls}) == 2


def test_the_text_of_deltas_is_that_of_the_answer_whatever_characters_are_in_it(client: OpenAI) -> None:
    events = list(client.responses.create(model="moody", input="think", stream=True))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == "Emoji \U0001f600 and\u2028lines\u0085."
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == said


@pytest.mark.parametrize(
    ("mood", "answer"),
    [("draft", "The answer."), ("direct", "Fill this form."), ("image", "[image/png]"), ("broken", "I could not.")],
)
def test_a_reply_holds_the_last_message_left(client: OpenAI, mood: str, answer: str) -> None:
    assert client.responses.create(model="moody", input=mood).output_text == answer
