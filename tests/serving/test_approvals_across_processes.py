"""Approvals of a process that is killed, and of other people."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.serving.approving import GRAPHS, Effects, Person, answer, approving, asked, results, text_of
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
        with anyio.fail_after(20):
            await asyncio.to_thread(effects.wait)
        running.process.kill()
        await running.process.wait()
        with pytest.raises(httpx.HTTPError):
            await answering
    held.unlink()
    async with ready("--config", str(GRAPHS), **settings) as running, running.client() as client:
        with anyio.fail_after(LEASE_SECONDS * 3):
            while True:
                response = await client.post("/responses", json=place | {"input": [answer(approval)]})
                if response.status_code != 409:
                    break
                assert response.json()["error"]["code"] == "conversation_busy"
                await asyncio.sleep(0.2)
    assert text_of(response.json()) == ["Done: held."]
    assert effects() == [f"hold {held}"] * 2


@DIALECTS
def test_nobody_else_can_answer(tmp_path: Path, address: str) -> None:
    effects = Effects(tmp_path / "effects")
    guard: dict[str, Any] = {"bearer_token": "open sesame", "user_header": "X-Front-User"}
    with approving(tmp_path, **guard) as service, httpx.Client(base_url=service.url, timeout=20) as client:

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
