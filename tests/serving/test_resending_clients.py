"""Clients that resend the conversation with every turn: the graph sees each message once, over real HTTP."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from agents import Agent, Runner, SQLiteSession, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from databricks_langchain import ChatDatabricks
from langchain_core.messages import HumanMessage
from openai import AsyncOpenAI, OpenAI
from tests.serving.conftest import Service, serving

pytestmark = pytest.mark.anyio

REMEMBERING = Path(__file__).parent / "remembering" / "langgraph.json"

WORDS = ["one", "two", "three", "four"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with serving(config=REMEMBERING) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=20) as client:
        yield client


def heard(*questions: str, first: Sequence[str] = ()) -> list[str]:
    """What the graph has in its state when it answers the last of these questions."""
    turns = [
        [f"human: {question}"[:19], "ai: Let me look.", "tool: nothing in b", "ai: answer"] for question in questions
    ]
    return [*first, *[one for turn in turns for one in turn][:-1]]


def said(answer: str) -> list[str]:
    """What the graph had in its state. Its earlier answers are lists themselves."""
    return ["ai: answer" if one.startswith("ai: [") else one for one in json.loads(answer)]


def text_of(response: dict[str, Any]) -> str:
    return next(item["content"][0]["text"] for item in reversed(response["output"]) if item["type"] == "message")


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_text", "text": text}]}


# -- the stock chat page ----------------------------------------------------------------------------------------------


def as_the_databricks_provider(output: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Its assistant messages have no type, and its calls no status."""
    sent = []
    for item in output:
        match item:
            case {"type": "message"}:
                parts = [{"type": "output_text", "text": part["text"]} for part in item["content"]]
                sent.append({"role": "assistant", "content": parts, "id": item["id"]})
            case {"type": "function_call"}:
                sent.append({key: item[key] for key in ("type", "call_id", "name", "arguments", "id")})
            case {"type": "function_call_output"}:
                sent.append({key: item[key] for key in ("type", "call_id", "output")})
            case {"type": "mcp_call"}:
                sent.append(item)
    return sent


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
def test_the_chat_page_has_ten_turns_an_edit_and_a_second_attempt(http: httpx.Client, address: str) -> None:
    conversation = f"chat of {address}"

    def ask(items: Sequence[Any]) -> dict[str, Any]:
        model = "remembering" if address.startswith("/v1") else "chat-model"
        body = {"model": model, "input": items, "context": {"conversation_id": conversation, "user_id": "somebody"}}
        answer = http.post(address, json=body)
        assert answer.status_code == 200, answer.text
        response: dict[str, Any] = answer.json()
        assert response["custom_outputs"]["thread_id"] == conversation
        return response

    history: list[Any] = []
    asked = [f"{number}." for number in range(10)]
    responses, requests = [], []
    for number, question in enumerate(asked):
        requests.append([*history, user(question)])
        responses.append(ask(requests[-1]))
        assert said(text_of(responses[-1])) == heard(*asked[: number + 1])
        history = [*requests[-1], *as_the_databricks_provider(responses[-1]["output"])]

    again = ask(requests[-1])
    assert said(text_of(again)) == heard(*asked)
    edited = ask([*requests[2][:-1], user("Else?")])
    assert said(text_of(edited)) == heard(*asked[:2], "Else?")
    # The first branch goes on.
    assert said(text_of(ask([*history, user("And?")]))) == heard(*asked, "And?")

    listed = http.get("/conversations", params={"limit": 100}).json()["data"]
    assert [one["id"] for one in listed].count(conversation) == 1


# -- the Vercel AI SDK ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [True, None])
def test_the_vercel_ai_sdk_sends_references_from_its_second_turn_on(http: httpx.Client, store: bool | None) -> None:
    # As version 7 sends it: what the assistant said and called stays behind, and its ids are sent.
    system = {"role": "system", "content": "Be brief."}
    history: list[Any] = [system]
    for number, word in enumerate(WORDS):
        history.append(user(word))
        body = {"model": "remembering", "input": history} | ({} if store is None else {"store": store})
        response = http.post("/v1/responses", json=body).json()
        assert said(text_of(response)) == heard(*WORDS[: number + 1], first=["system: Be brief."])
        history += [{"type": "item_reference", "id": item["id"]} for item in response["output"]]


def test_the_vercel_ai_sdk_with_a_conversation_resends_only_the_questions(http: httpx.Client) -> None:
    conversation = http.post("/v1/conversations", json={}).json()["id"]
    history: list[Any] = []
    for number, word in enumerate(WORDS):
        history.append(user(word))
        body = {"model": "remembering", "input": history, "conversation": conversation}
        response = http.post("/v1/responses", json=body).json()
        assert said(text_of(response)) == heard(*WORDS[: number + 1])


# -- without being stored ---------------------------------------------------------------------------------------------


def test_a_request_that_is_not_stored_reads_what_it_names_and_leaves_nothing(http: httpx.Client) -> None:
    def ask(items: Any, **fields: Any) -> dict[str, Any]:
        answer = http.post("/v1/responses", json={"model": "remembering", "input": items, **fields})
        assert answer.status_code == 200, answer.text
        response: dict[str, Any] = answer.json()
        return response

    one = ask("one")
    references = [{"type": "item_reference", "id": item["id"]} for item in one["output"]]
    # The service did not return what the graph said beside its call, so the items do not have it.
    history = ["human: one", "ai: ", "tool: nothing in b", "ai: answer"]
    for items, fields in (
        ("two", {"previous_response_id": one["id"]}),
        ("two", {"conversation": one["conversation"]["id"]}),
        ([user("one"), *references, user("two")], {}),
    ):
        response = ask(items, store=False, **fields)
        assert said(text_of(response)) == heard("two", first=history)
        assert response["store"] is False
        assert http.get(f"/v1/responses/{response['id']}").status_code == 404
    listed = http.get(f"/v1/conversations/{one['conversation']['id']}/responses").json()["data"]
    assert [entry["id"] for entry in listed] == [one["id"]]


@pytest.mark.parametrize("store", [True, False])
def test_a_reference_to_nothing_is_refused_with_its_path(http: httpx.Client, store: bool) -> None:
    items = [user("one"), {"type": "item_reference", "id": "msg_0"}, user("two")]
    answer = http.post("/v1/responses", json={"model": "remembering", "input": items, "store": store})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input[1].id")


# -- OpenAI's SDKs ----------------------------------------------------------------------------------------------------


def test_the_openai_sdk_resends_the_output_as_it_is(service: Service) -> None:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        history: list[Any] = []
        for number, word in enumerate(WORDS):
            history.append({"role": "user", "content": word})
            response = client.responses.create(model="remembering", input=history)
            assert said(response.output_text) == heard(*WORDS[: number + 1])
            history += response.output


async def test_the_agents_sdk_resends_its_input_list_and_its_session(service: Service) -> None:
    set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        agent = Agent(name="a", model=OpenAIResponsesModel(model="remembering", openai_client=client))
        history: list[Any] = []
        session = SQLiteSession("one")
        for number, word in enumerate(WORDS):
            listed = await Runner.run(agent, [*history, {"role": "user", "content": word}])
            history = listed.to_input_list()
            kept = await Runner.run(agent, word, session=session)
            assert said(listed.final_output) == said(kept.final_output) == heard(*WORDS[: number + 1])


async def test_the_agents_sdk_names_what_it_continues(service: Service) -> None:
    set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        agent = Agent(name="a", model=OpenAIResponsesModel(model="remembering", openai_client=client))
        conversation = (await client.conversations.create()).id
        previous = None
        for number, word in enumerate(WORDS):
            following = await Runner.run(agent, word, previous_response_id=previous)
            previous = following.last_response_id
            within = await Runner.run(agent, word, conversation_id=conversation)
            assert said(following.final_output) == said(within.final_output) == heard(*WORDS[: number + 1])


# -- ChatDatabricks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_chat_databricks_resends_its_messages(service: Service, streaming: bool) -> None:
    # Without its own constructor, which looks for a real workspace.
    model = ChatDatabricks.model_construct(model="remembering", use_responses_api=True)
    model.__dict__["client"] = OpenAI(base_url=service.url, api_key="none", max_retries=0)
    history: list[Any] = []
    for number, word in enumerate(WORDS):
        history.append(HumanMessage(word))
        message: Any
        if streaming:
            first, *rest = model.stream(history)
            message = sum(rest, first)
        else:
            message = model.invoke(history)
        history.append(message)
        # In a stream it has the results of tools as text, too.
        answer = message.text[message.text.index("[") :]
        assert said(answer) == heard(*WORDS[: number + 1])
