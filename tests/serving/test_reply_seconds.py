"""A reply that is not a stream ends before who passes it on gives up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.serving.conftest import GRAPHS
from tests.wire import frames

from graph_agent.serving import app

pytestmark = pytest.mark.anyio

UNRULY = GRAPHS.parent / "unruly" / "langgraph.json"
APPS = {"DATABRICKS_APP_NAME": "agent"}
SIGNED_IN = {"x-forwarded-user": "someone", "x-forwarded-access-token": "t"}


def waiting(until: Path) -> dict[str, Any]:
    return {"model": "held", "input": "Wait.", "custom_inputs": {"until": str(until)}}


@pytest.mark.parametrize("address", ["/invocations", "/responses", "/v1/responses"])
async def test_it_is_incomplete_with_a_word(serve: Callable[..., Any], tmp_path: Path, address: str) -> None:
    with serve(config=UNRULY, reply_seconds=0.6) as service:
        async with service.client() as client:
            with anyio.fail_after(15):
                answer = await client.post(address, json=waiting(tmp_path / "now"))
        (tmp_path / "now").touch()
    response = answer.json()
    assert (answer.status_code, response["status"]) == (200, "incomplete")
    assert response["metadata"]["budget"] == "seconds"
    assert "the time for one run was used up" in answer.text


async def test_a_stream_has_the_time_of_any_run(serve: Callable[..., Any], tmp_path: Path) -> None:
    with serve(config=UNRULY, reply_seconds=0.3, max_seconds=2.0) as service:
        async with service.client() as client:
            began = anyio.current_time()
            answer = await client.post("/responses", json=waiting(tmp_path / "now") | {"stream": True})
            assert anyio.current_time() - began > 1.9
        (tmp_path / "now").touch()
    assert frames(answer.text)[-2]["response"]["metadata"]["budget"] == "seconds"


@pytest.mark.parametrize(("environ", "ends"), [(APPS, True), ({}, False)], ids=["apps", "elsewhere"])
async def test_databricks_apps_needs_no_setting_for_it_and_elsewhere_there_is_no_such_limit(
    serve: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    ends: bool,
) -> None:
    monkeypatch.setattr(app, "APPS_REPLY_SECONDS", 0.5)
    with serve(environ, config=UNRULY, max_seconds=4.0) as service:
        async with service.client(headers=SIGNED_IN) as client:
            began = anyio.current_time()
            answer = await client.post("/responses", json=waiting(tmp_path / "now"))
            took = anyio.current_time() - began
        (tmp_path / "now").touch()
    assert answer.json()["metadata"]["budget"] == "seconds"
    assert (took < 3.9) is ends
