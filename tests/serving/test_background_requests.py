"""What the store keeps of a background request, and for how long."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Service, Upstream
from tests.wire import frames

pytestmark = pytest.mark.anyio

SECRET = "dapi" + "0123456789abcdef" * 2
TOLD = "Be as brief as a haiku."


@pytest.fixture
def service(tmp_path: Path, serve: Callable[..., Any]) -> Iterator[Service]:
    with serve(store=f"sqlite:{tmp_path / 'store.sqlite'}") as running:
        yield running


def rows_with(folder: Path, text: str) -> set[str]:
    """The tables of the store that have this text."""
    found = set()
    with closing(sqlite3.connect(folder / "store.sqlite")) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f"SELECT * FROM {table}").fetchall()
            if any(text in (value.decode(errors="replace") if isinstance(value, bytes) else str(value))
                   for row in rows for value in row):  # fmt: skip
                found.add(table)
    return found


async def ended(client: httpx.AsyncClient, response_id: str) -> Any:
    """The response, once its run has ended."""
    stream = await client.get(f"/responses/{response_id}", params={"stream": "true"})
    assert frames(stream.text)[-1] == "[DONE]"
    return (await client.get(f"/responses/{response_id}")).json()


async def test_what_a_background_run_needs_is_kept_until_it_ends_and_without_secrets(
    service: Service, upstream: Upstream, tmp_path: Path
) -> None:
    inputs = {"upstream": upstream.url}
    body = {"model": "upstream", "input": f"I am {SECRET}.", "instructions": TOLD, "custom_inputs": inputs}
    async with service.client() as client:
        queued = (await client.post("/responses", json={**body, "background": True})).json()
        await upstream.asked.wait()
        # The response that is told to its reader repeats the instructions too.
        assert "runs" in rows_with(tmp_path, TOLD)
        assert rows_with(tmp_path, upstream.url) == {"runs"}
        assert rows_with(tmp_path, SECRET) == set()
        upstream.say("Done.")
        upstream.end()
        assert (await ended(client, queued["id"]))["status"] == "completed"
    assert "runs" not in rows_with(tmp_path, TOLD)
    assert rows_with(tmp_path, upstream.url) == set()


async def test_a_request_that_is_refused_keeps_nothing(service: Service, tmp_path: Path) -> None:
    marked = {"input": "A marked question.", "background": True}
    async with service.client() as client:
        for wrong in ({"store": False}, {"custom_inputs": {"key": SECRET}}):
            assert (await client.post("/responses", json=marked | wrong)).status_code == 400
    assert rows_with(tmp_path, "A marked question.") == set()


@pytest.mark.parametrize("address", ["/invocations", "/api/invocations"])
async def test_invocations_in_the_background_are_stored_and_can_be_read(service: Service, address: str) -> None:
    async with service.client() as client:
        queued = (await client.post(address, json={"model": "plain", "input": "Hi", "background": True})).json()
        assert (queued["status"], queued["background"], queued["store"]) == ("queued", True, True)
        found = await ended(client, queued["id"])
    assert (found["status"], found["background"]) == ("completed", True)
    assert found["output"][0]["content"][0]["text"] == "Hello world."
