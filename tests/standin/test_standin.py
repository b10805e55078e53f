"""The stand-in itself: it records, signs in, knows its users, and fails when told to."""

import asyncio
import threading
import time
from pathlib import Path

import anyio
import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from tests.standin.server import dead_host, stand_in
from tests.standin.stalls import stalls


def test_requests_are_recorded_with_the_token_they_carried(tmp_path: Path) -> None:
    with stand_in(tmp_path, users=["ann"]) as standing:
        config = Config(
            host=standing.url,
            client_id=standing.credentials.client_id,
            client_secret=standing.credentials.client_secret,
        )
        assert WorkspaceClient(config=config).current_user.me().user_name == "me@localhost"
        ann = WorkspaceClient(config=Config(host=standing.url, token=standing.user("ann"), auth_type="pat"))
        assert ann.current_user.me().user_name == "ann"
        first, second = standing.calls()
        assert first.line == second.line == "GET /api/2.0/preview/scim/v2/Me"
        assert (len(first.token) > 20, second.token) == (True, "user-ann")
        assert [one.path for one in standing.calls("token", sign_in=True)] == ["/oidc/v1/token"]


def test_it_fails_as_often_as_it_was_told(tmp_path: Path) -> None:
    ann = {"authorization": "Bearer user-ann"}
    with stand_in(tmp_path, users=["ann"]) as standing, httpx.Client(base_url=standing.url, headers=ann) as client:
        standing.fail("/scim/", 503, headers={"retry-after": "1"})
        refused = client.get("/api/2.0/preview/scim/v2/Me")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/api/2.0/preview/scim/v2/Me").status_code == 200
        standing.hang_up("/chat/completions", after=2)
        body = {"model": "local-model", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        address = "/serving-endpoints/chat/completions"
        with pytest.raises(httpx.RemoteProtocolError), client.stream("POST", address, json=body) as response:
            assert "It " in "".join(response.iter_text())


def test_nothing_answers_at_a_dead_host() -> None:
    with dead_host() as url, pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.anyio
async def test_a_blocked_loop_is_told_from_a_waiting_one() -> None:
    async with stalls() as waiting:
        await anyio.sleep(0.3)
    async with stalls() as blocked:
        time.sleep(0.5)  # noqa: ASYNC251
    async with stalls() as busy:
        ends = time.thread_time() + 0.2
        while time.thread_time() < ends:
            pass
    assert waiting.worst < 0.1
    assert blocked.worst > 0.15
    assert busy.worst > 0.15


@pytest.mark.anyio
async def test_other_threads_that_take_python_s_lock_do_not_block_a_loop() -> None:
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            pass

    others = [threading.Thread(target=work) for _ in range(6)]
    async with stalls() as delayed:
        for one in others:
            one.start()
        began = time.monotonic()
        # Each of these waits for the lock behind the others.
        for _ in range(6):
            await asyncio.sleep(0)
            time.sleep(0)  # noqa: ASYNC251
        took = time.monotonic() - began
        ended.set()
        for one in others:
            one.join()
    assert delayed.worst < min(0.1, took)
