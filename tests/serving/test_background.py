"""Runs in the background over real HTTP: queued, taken, read, limited, and put back when the process stops."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.serving.conftest import Service

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
