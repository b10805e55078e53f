"""Approvals and calls of the client of a process that is killed, and approvals of other people."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.approving import GRAPHS, Effects, Person, answer, approving, asked, results, text_of
from tests.serving.conftest import ANSWER_SECONDS
from tests.serving.talking import talking
from tests.serving.test_process import ready

pytestmark = pytest.mark.anyio

LEASE_SECONDS = 10
"""How long the conversation of a killed process stays busy."""

DIALECTS = pytest.mark.parametrize("address", ["/v1/responses", "/responses"])


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    return {
        "EFFECTS": str(tmp_path / "effects"),
        "GRAPH_AGENT_STORE": f"sqlite:{tmp_path / 'store.sqlite'}",
        "GRAPH_AGENT_CONFIG": str(GRAPHS),
    }


@DIALECTS
async def test_a_process_that_is_killed_loses_no_question_and_no_answer(
    settings: dict[str, str], tmp_path: Path, address: str
) -> None:
    effects = Effects(tmp_path / "effects")

    async def ask(client: httpx.AsyncClient, content: Any) -> Any:
        body = {"model": "mail", "input": content, "context": {"conversation_id": "killed"}, "store": True}
        response = await client.post(address, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        send, delete = asked(await ask(client, "send:ann delete:x"))
        running.process.kill()
        await running.process.wait()
    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        assert asked(await ask(client, [answer(send)])) == [delete]
        running.process.kill()
        await running.process.wait()
    assert effects() == []
    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        response = await ask(client, [answer(delete, False)])
    assert results(response)[send["id"]] == "sent to ann"
    assert effects() == ["send ann"]


async def test_an_answer_whose_run_was_killed_can_be_given_again(settings: dict[str, str], tmp_path: Path) -> None:
    effects, held = Effects(tmp_path / "effects"), tmp_path / "held"
    held.touch()
    place = {"model": "mail", "context": {"conversation_id": "killed"}}
    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        [approval] = asked((await client.post("/responses", json=place | {"input": f"hold:{held}"})).json())
        answering = asyncio.create_task(client.post("/responses", json=place | {"input": [answer(approval)]}))
        with anyio.fail_after(ANSWER_SECONDS):
            await asyncio.to_thread(effects.wait)
        running.process.kill()
        await running.process.wait()
        with pytest.raises(httpx.HTTPError):
            await answering
    held.unlink()
    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        with anyio.fail_after(LEASE_SECONDS + ANSWER_SECONDS):
            while True:
                response = await client.post("/responses", json=place | {"input": [answer(approval)]})
                if response.status_code != 409:
                    break
                assert response.json()["error"]["code"] == "conversation_busy"
                await asyncio.sleep(0.2)
    assert text_of(response.json()) == ["Done: held."]
    assert effects() == [f"hold {held}"] * 2


@asynccontextmanager
async def errands(face: str, settings: dict[str, str]) -> AsyncIterator[Any]:
    """A process, asked over HTTP or a WebSocket, and killed with `kill -9` at the end of the block."""
    async with ready("--config", str(GRAPHS), **settings) as running:
        if face == "websocket":
            async with talking(running, model="errands") as talk:
                yield talk.ask
                running.process.kill()
        else:
            async with running.client() as client:

                async def ask(**fields: Any) -> Any:
                    response = await client.post("/v1/responses", json={"model": "errands", **fields})
                    assert response.status_code == 200, response.text
                    return response.json()

                yield ask
                running.process.kill()
        await running.process.wait()


@pytest.mark.parametrize(
    ("before", "after"), [("http", "websocket"), ("websocket", "websocket"), ("websocket", "http")]
)
@pytest.mark.parametrize("how", ["stored", "resent"])
async def test_calls_of_the_client_beside_a_tool_and_an_approval_outlive_a_kill_over_both_faces(
    settings: dict[str, str], tmp_path: Path, before: str, after: str, how: str
) -> None:
    effects = Effects(tmp_path / "effects")
    tools = [{"type": "function", "name": name} for name in ("weather", "stock")]
    said = "weather:rome look:it stock:tin send:ann"
    async with errands(before, settings) as ask:
        looked = await ask(input="look:here", tools=tools)
        first = await ask(input=said, tools=tools, previous_response_id=looked["id"])
        [approval] = asked(first)
        weather, stock = (item["call_id"] for item in first["output"] if item["type"] == "function_call")
        sunny = {"type": "function_call_output", "call_id": weather, "output": "sunny"}
        second = await ask(input=[sunny], previous_response_id=first["id"], tools=tools)
        assert [one["id"] for one in asked(second)] == [approval["id"]]
    assert effects() == ["look here"]

    rest = [{"type": "function_call_output", "call_id": stock, "output": "42"}, answer(approval)]
    asked_before = [{"role": "user", "content": "look:here"}, *looked["output"]]
    history = [*asked_before, {"role": "user", "content": said}, *first["output"], sunny]
    async with errands(after, settings) as ask:
        if how == "stored":
            last = await ask(input=rest, previous_response_id=second["id"], tools=tools)
        else:
            last = await ask(input=[*history, *rest], tools=tools)
    [text] = text_of(last)
    assert sorted(text.removeprefix("Done: ").removesuffix(".").split("; ")) == ["42", "saw it", "sent to ann", "sunny"]
    assert sorted(effects()) == ["look it", "send ann"]


@DIALECTS
def test_nobody_else_can_answer(tmp_path: Path, address: str) -> None:
    effects = Effects(tmp_path / "effects")
    guard: dict[str, Any] = {"bearer_token": "open sesame", "user_header": "X-Front-User"}
    with approving(tmp_path, **guard) as service, httpx.Client(base_url=service.url, timeout=ANSWER_SECONDS) as client:

        def person(name: str, **fields: Any) -> Person:
            headers = {"authorization": "Bearer open sesame", "x-front-user": name}
            return Person(client, address, "mail", headers=headers, **fields)

        ann = person("ann")
        response = ann.say("send:ann")
        [approval] = asked(response)
        missing = person("bob").refused([answer("mcpr_000000000000000000000000")])
        ways: list[Callable[[Person], dict[str, Any]]] = [
            lambda one: {"context": None},
            lambda one: {},
            lambda one: {"context": {"conversation_id": ann.conversation, "user_id": "ann"}},
            lambda one: {"custom_inputs": {"thread_id": ann.conversation}, "context": None},
        ]
        for way in ways:
            for given in (answer(approval), answer(approval, False), answer(approval, output="x")):
                for content in ([given], [given, {"role": "user", "content": "hello"}]):
                    bob = person("bob")
                    assert bob.refused(content, **way(bob)) == missing
        named = person("bob").refused([answer(approval)], previous_response_id=response["id"], context=None)
        assert (named[0], named[1]["code"]) == (404, "response_not_found")
        # The history of somebody else is only text.
        history = [{"role": "user", "content": "send:ann"}, approval, answer(approval)]
        person("bob").post(history)
        assert effects() == []
        assert text_of(ann.say([answer(approval)])) == ["Done: sent to ann."]
        assert effects() == ["send ann"]
    assert "EFFECTS" not in os.environ
