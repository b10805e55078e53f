"""Runs in the background over real HTTP: queued, taken, read, limited, and put back when the process stops."""

import base64
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from tests.serving.approving import answer, approving, asked, results
from tests.serving.conftest import Service, serving
from tests.wire import frames

FAMILIES = ["/v1", "", "/api"]


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


def until(look: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `look` returns, as soon as it is true."""
    ends = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < ends, "it never became true"
        time.sleep(0.02)
    return found


def ended(http: httpx.Client, address: str) -> Any:
    """The response at this address, once its run has ended."""

    def look() -> Any:
        response = http.get(address).json()
        return None if response["status"] in ("queued", "in_progress") else response

    return until(look)


@pytest.mark.parametrize("prefix", FAMILIES)
def test_a_background_request_is_answered_at_once_and_runs_without_its_caller(http: httpx.Client, prefix: str) -> None:
    answer = http.post(f"{prefix}/responses", json={"model": "team", "input": "Weather?", "background": True})
    assert answer.status_code == 200, answer.text
    queued = answer.json()
    assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
    response = ended(http, f"{prefix}/responses/{queued['id']}")
    assert response["status"] == "completed"
    plain = http.post(f"{prefix}/responses", json={"model": "team", "input": "Weather?"}).json()
    assert [item["type"] for item in response["output"]] == [item["type"] for item in plain["output"]]


@pytest.mark.parametrize("prefix", FAMILIES)
def test_a_streamed_background_request_gets_the_events_from_the_first_to_the_last(
    http: httpx.Client, prefix: str
) -> None:
    body = {"model": "team", "input": "Weather?", "background": True, "stream": True}
    events = frames(http.post(f"{prefix}/responses", json=body).text)
    assert events[-1] == "[DONE]"
    assert [one["sequence_number"] for one in events[:-1]] == list(range(len(events) - 1))
    assert (events[0]["type"], events[-2]["type"]) == ("response.created", "response.completed")
    assert events[0]["response"]["status"] == "queued"
    assert http.get(f"{prefix}/responses/{events[0]['response']['id']}").json() == events[-2]["response"]


def test_the_sdk_polls_and_streams_background_responses(service: Service) -> None:
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        queued = client.responses.create(model="team", input="Weather?", background=True)
        assert queued.status == "queued"
        done = until(lambda: (one := client.responses.retrieve(queued.id)).status == "completed" and one)
        streamed = client.responses.create(model="team", input="Weather?", background=True, stream=True)
        kinds = [event.type for event in streamed]
        assert kinds[-1] == "response.completed"
        assert done.output_text


def test_a_client_goes_on_after_the_background_response_and_before_it(http: httpx.Client) -> None:
    first = http.post("/responses", json={"model": "echo", "input": "A", "background": True}).json()
    ended(http, f"/responses/{first['id']}")

    def turn(said: str) -> Any:
        body = {"model": "echo", "input": said, "background": True, "previous_response_id": first["id"]}
        queued = http.post("/responses", json=body)
        assert queued.status_code == 200, queued.text
        done = ended(http, f"/responses/{queued.json()['id']}")
        text = "".join(part["text"] for item in done["output"] for part in item["content"])
        return [said for kind, said, _ in json.loads(text) if kind == "human"]

    assert turn("B") == ["A", "B"]
    # Another branch, which knows nothing of the first.
    assert turn("C") == ["A", "C"]


def test_a_branch_from_an_earlier_background_response_runs_after_a_restart(tmp_path: Path) -> None:
    store, echo = f"sqlite:{tmp_path / 'store.sqlite'}", {"model": "echo", "background": True}

    def ask(http: httpx.Client, said: str, after: str | None = None) -> str:
        queued = http.post("/responses", json={**echo, "input": said, "previous_response_id": after})
        assert queued.status_code == 200, queued.text
        return str(queued.json()["id"])

    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(max_background_runs=1, store=store) as service,
        httpx.Client(base_url=service.url, timeout=10) as http,
    ):
        root = ask(http, "A")
        ended(http, f"/responses/{root}")
        ended(http, f"/responses/{ask(http, 'B', root)}")
        # Another run holds the only place, so that the branch is still queued when the service stops.
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        held = {"model": "upstream", "input": "Hi", "background": True, "custom_inputs": {"upstream": endpoint}}
        held_id = http.post("/responses", json=held).json()["id"]
        until(lambda: http.get(f"/responses/{held_id}").json()["status"] == "in_progress")
        queued = ask(http, "C", root)
    with serving(store=store) as service, httpx.Client(base_url=service.url, timeout=10) as http:
        for said in ("C", "D"):
            done = ended(http, f"/responses/{queued if said == 'C' else ask(http, said, root)}")
            text = "".join(part["text"] for item in done["output"] for part in item["content"])
            assert [words for kind, words, _ in json.loads(text) if kind == "human"] == ["A", said]


def test_a_conversation_is_busy_until_its_background_run_has_ended(http: httpx.Client) -> None:
    body = {"model": "team", "input": "Weather?", "context": {"conversation_id": "busy"}}
    queued = http.post("/responses", json={**body, "background": True}).json()
    refused = http.post("/responses", json=body)
    if refused.status_code != 200:
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conversation_busy")
    ended(http, f"/responses/{queued['id']}")
    assert http.post("/responses", json=body).status_code == 200


def test_an_approval_is_asked_and_answered_in_the_background_across_a_restart(tmp_path: Path) -> None:
    settings = {"store": f"sqlite:{tmp_path / 'store.sqlite'}"}
    place = {"model": "mail", "context": {"conversation_id": "asks"}, "background": True}
    with approving(tmp_path, **settings) as service, httpx.Client(base_url=service.url, timeout=10) as http:
        queued = http.post("/responses", json={**place, "input": "send:ann"}).json()
        [approval] = asked(ended(http, f"/responses/{queued['id']}"))
    assert not (tmp_path / "effects").exists()
    with approving(tmp_path, **settings) as service, httpx.Client(base_url=service.url, timeout=10) as http:
        queued = http.post("/responses", json={**place, "input": [answer(approval)]}).json()
        done = ended(http, f"/responses/{queued['id']}")
    assert results(done)[approval["id"]] == "sent to ann"
    assert (tmp_path / "effects").read_text() == "send ann\n"


def token(seconds: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds}).encode()).decode().rstrip("=")
    return f"e30.{claims}.planted-{time.time_ns()}"


def test_a_run_for_a_user_waits_for_a_token_after_a_restart_and_goes_on_with_a_new_one(tmp_path: Path) -> None:
    environ = {"DATABRICKS_APP_NAME": "agent"}
    settings: dict[str, Any] = {"store": f"sqlite:{tmp_path / 'store.sqlite'}", "authorization": "user"}
    user = {"X-Forwarded-User": "ann", "X-Forwarded-Email": "ann@example.com"}
    planted, body = token(3600), {"model": "team", "input": "Weather?", "background": True}
    forwarded = {"X-Forwarded-Access-Token": planted}
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(environ, max_background_runs=1, **settings) as service,
        httpx.Client(base_url=service.url, timeout=10, headers=user) as http,
    ):
        # The first one holds the only place, so that the second one is still queued when the service stops.
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        held = {**body, "model": "upstream", "custom_inputs": {"upstream": endpoint}}
        assert http.post("/responses", json=held, headers=forwarded).status_code == 200
        queued = http.post("/responses", json=body, headers=forwarded).json()
    with (
        serving(environ, **settings) as service,
        httpx.Client(base_url=service.url, timeout=10, headers=user) as http,
    ):
        address = f"/responses/{queued['id']}"

        def waits(headers: Any = None) -> Any:
            response = http.get(address, headers=headers).json()
            return response["status"] == "incomplete" and response["incomplete_details"]["reason"]

        assert until(waits, 20) == "user_token_required"
        assert waits({"X-Forwarded-Access-Token": token(-5)}) == "user_token_required"
        assert not waits({"X-Forwarded-Access-Token": token(3600)})
        assert ended(http, address)["status"] == "completed"
    for file in tmp_path.iterdir():
        assert planted.encode() not in file.read_bytes()


def test_everything_of_a_caller_is_deleted_though_runs_are_in_the_background(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'store.sqlite'}"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(max_background_runs=1, store=store) as service,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        held = {"model": "upstream", "input": "Hi", "background": True, "custom_inputs": {"upstream": endpoint}}
        running, queued = (http.post("/responses", json=held).json()["id"] for _ in range(2))
        until(lambda: http.get(f"/responses/{running}").json()["status"] == "in_progress")
        gone = http.delete("/me/data")
        assert gone.status_code == 200, gone.text
        assert gone.json()["deleted"]["responses"] == 2
        for one in (running, queued):
            assert http.get(f"/responses/{one}").status_code == 404
    with sqlite3.connect(tmp_path / "store.sqlite") as tables:
        assert tables.execute("SELECT COUNT(*) FROM runs").fetchall() == [(0,)]
    tables.close()
