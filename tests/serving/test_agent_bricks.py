"""The address of Agent Bricks' server, by requests as its clients send them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest
from tests.serving.describing import flaws, schema_in
from tests.serving.mailing import planner

from graph_agent import Settings, create_app
from graph_agent.testing import AgentClient, Call, ScriptedChatModel, Wait, on_loopback

pytestmark = pytest.mark.anyio

PATH = "/api/invocations"


class Talk:
    """A client with one session."""

    def __init__(self, http: httpx.AsyncClient, model: ScriptedChatModel) -> None:
        self.http, self.model = http, model

    async def post(self, words: Any, **fields: Any) -> httpx.Response:
        value = [{"role": "user", "content": words}] if isinstance(words, str) else words
        body = {"id": str(uuid4()), "session_id": "s1", "input": value} | fields
        return await self.http.post(PATH, json=body)

    async def said(self, words: Any, **fields: Any) -> dict[str, Any]:
        answer = await self.post(words, **fields)
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        await self.check("Invocation", state)
        return state

    async def check(self, schema: str, value: Any) -> None:
        described = (await self.http.get("/openapi.json")).json()
        assert flaws(schema_in(described, schema), value) == []


@asynccontextmanager
async def talking(*replies: Any) -> AsyncIterator[Talk]:
    model = ScriptedChatModel(*replies)
    app = create_app(Settings(tracing="off", store="memory"), {"a": planner(model)}, environ={})
    async with AgentClient(app) as client:
        yield Talk(client.http, model)


def events_of(text: str) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for part in text.split("\n\n"):
        if part and not part.startswith(":"):
            id_, kind, data = (line.partition(": ")[2] for line in part.split("\n"))
            found.append((int(id_), kind, json.loads(data)))
    return found


async def test_an_invocation_has_the_messages_of_its_run_and_the_next_one_goes_on() -> None:
    async with talking(Call("send", {"to": "bob"}, id="c1"), "Sent.", "Bye.") as talk:
        state = await talk.said("Mail Bob.")
        called, result, answer = state["output"]["output"]
        assert called["tool_calls"] == [{"type": "tool_call", "id": "c1", "name": "send", "args": {"to": "bob"}}]
        assert (result["type"], result["content"], result["tool_call_id"]) == ("tool", "sent to bob", "c1")
        assert (answer["type"], answer["content"], state["output"]["status"]) == ("ai", "Sent.", "completed")
        await talk.said({"messages": [{"role": "user", "content": "Bye."}], "actor": "ann"})
        assert talk.model.requests[-1].texts[1:] == ["Mail Bob.", "", "sent to bob", "Sent.", "Bye."]


async def test_the_same_id_finds_the_invocation_that_exists() -> None:
    async with talking("One.", "Two.") as talk:
        id_ = str(uuid4())
        first = await talk.said("Hi", id=id_)
        assert await talk.said("Hi", id=id_.upper()) == first
        assert (await talk.http.get(f"{PATH}/{id_}")).json() == first
        other = await talk.post("Ho", id=id_)
        assert (other.status_code, other.json()["error"]["param"]) == (409, "id")
        assert (await talk.http.get(f"{PATH}/{uuid4()}")).status_code == 404
        assert len(talk.model.requests) == 1


async def test_a_stream_can_be_read_again_from_any_event_on() -> None:
    async with talking(["Hello ", "world."]) as talk:
        id_ = str(uuid4())
        body = {"id": id_, "session_id": "s1", "input": [{"role": "user", "content": "Hi"}], "stream": True}
        answer = await talk.http.post(PATH, json=body, headers={"x-mlflow-return-trace-id": "true"})
        events = events_of(answer.text)
        assert "".join(data["content"] for _, kind, data in events if kind == "delta") == "Hello world."
        assert events[-1][1] == "message"
        assert events[-1][2]["message"]["content"] == "Hello world."
        for _, kind, data in events:
            assert data["type"] == kind
            await talk.check("InvocationEvent", data)
        for after, left in ((0, events), (events[0][0], events[1:]), (events[-1][0], [])):
            again = await talk.http.get(f"{PATH}/{id_}/events?after={after}")
            assert events_of(again.text) == left


class Pause:
    """Over after a moment in which tokens are not gathered."""

    async def wait(self) -> None:
        await asyncio.sleep(0.03)


async def test_tokens_that_come_one_by_one_from_our_own_server_are_told_in_the_same_form() -> None:
    words = [piece for n in range(5) for piece in (Wait(Pause()), f" word{n}")]
    app = create_app(Settings(tracing="off", store="memory"), {"a": planner(ScriptedChatModel(words))}, environ={})
    id_ = str(uuid4())
    body = {"id": id_, "session_id": "s1", "input": [{"role": "user", "content": "Hi"}], "stream": True}
    with on_loopback(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            told = events_of((await client.post(PATH, json=body)).text)
            again = events_of((await client.get(f"{PATH}/{id_}/events?after=0")).text)
    assert [data["content"] for _, kind, data in told if kind == "delta"] == [f" word{n}" for n in range(5)]
    assert again == told


async def test_a_run_in_the_background_is_polled() -> None:
    async with talking("Done.") as talk:
        answer = await talk.post("Hi", background=True, stream=True)
        accepted = answer.json()
        assert (answer.status_code, accepted["status"]) == (202, "queued")
        await talk.check("Invocation", accepted)
        with anyio.fail_after(20):
            while (state := (await talk.http.get(accepted["status_url"])).json())["status"] in ("queued", "active"):
                pass
        assert state["output"]["output"][0]["content"] == "Done."
        events = events_of((await talk.http.get(accepted["events_url"])).text)
        assert events[-1][2]["message"]["content"] == "Done."


async def test_an_interrupt_is_resumed_by_its_id() -> None:
    async with talking(Call("send", {"to": "ann"}), "Sent.") as talk:
        state = await talk.said("Mail Ann.")
        asked = state["output"]["output"][-1]
        assert state["output"]["status"] == "interrupted"
        assert asked["value"] == {"name": "send", "arguments": {"to": "ann"}}
        state = await talk.said({"resume": {asked["id"]: {"approved": True}}})
        assert [one["content"] for one in state["output"]["output"]] == ["sent to ann", "Sent."]


async def test_a_failure_ends_the_stream_and_is_the_state() -> None:
    async with talking(["Half", RuntimeError("a secret of the endpoint")]) as talk:
        id_ = str(uuid4())
        answer = await talk.post("Hi", id=id_, stream=True)
        _, kind, data = events_of(answer.text)[-1]
        assert (kind, data["code"]) == ("error", "model_failed")
        assert "secret of" not in answer.text
        state = (await talk.http.get(f"{PATH}/{id_}")).json()
        assert (state["status"], state["error"]) == ("failed", data["message"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"id": "one"}, "id"),
        ({"input": "Hi"}, "input"),
        ({"input": {"messages": [], "thread": 1}}, "input.messages"),
        ({"input": {"resume": {}, "decisions": []}}, "input.decisions"),
        ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "tool", "content": "x", "tool_call_id": ""}]}, "input[0].tool_call_id"),
        ({"actor": "ann"}, "actor"),
    ],
)
async def test_an_invocation_that_is_wrong_is_refused_by_its_field(fields: dict[str, Any], param: str) -> None:
    async with talking("Never said.") as talk:
        answer = await talk.post("Hi", **fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert talk.model.requests == []


@pytest.mark.parametrize("key", ["another", "k" * 1_000])
async def test_another_key_beside_the_id_is_refused(key: str) -> None:
    async with talking("Never said.") as talk:
        body = {"id": str(uuid4()), "input": [{"role": "user", "content": "Hi"}]}
        answer = await talk.http.post(PATH, json=body, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
        assert talk.model.requests == []


async def test_a_body_of_many_values_is_not_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from graph_agent.serving.routes import agent_bricks

    read: list[int] = []

    class Reading:
        loads = staticmethod(lambda body: read.append(len(body)) or {})
        JSONDecodeError = agent_bricks.orjson.JSONDecodeError

    async with talking("Never said.") as talk:
        # Such a reading holds up all other requests for most of a second.
        monkeypatch.setattr(agent_bricks, "orjson", Reading)
        body = f'{{"id": "{uuid4()}", "input": [], "x": [{"[]," * 400_000}1]}}'
        answer = await talk.http.post(PATH, content=body, headers={"content-type": "application/json"})
        nested = {"input": [{"role": "user", "content": "Hi", "id": "m1"}] * 10_000, "other": 1}
        also = await talk.http.post(PATH, json=nested)
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "The body contains more than 300000 values.",
    )
    assert (also.status_code, also.json()["error"]["param"]) == (400, "other")
    assert read == []


async def test_a_body_without_an_id_is_of_mlflows_form() -> None:
    async with talking("Hello.", "Again.") as talk:
        answer = await talk.http.post(PATH, json={"input": [{"role": "user", "content": "Hi", "id": "m1"}]})
        assert answer.json()["output"][0]["content"][0]["text"] == "Hello."
        refused = await talk.http.post(PATH, content=b'["id"]', headers={"content-type": "application/json"})
        assert refused.json()["error"]["message"] == "The body must be a JSON object; got an array."
