"""Traces into a workspace on its bad days: runs are answered, traces arrive later or are counted, the loop runs on."""

import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from tests.databricks.service import service_here, text_of
from tests.serving.test_process import ready
from tests.standin.server import StandIn, dead_host, stand_in
from tests.standin.stalls import stalls
from tests.standin.tracking import EXPERIMENT, Tracking, tracking

pytestmark = pytest.mark.anyio

GRAPHS = Path(__file__).parent.parent / "graphs" / "langgraph.json"
START, LEND = "/api/3.0/mlflow/traces$", "/credentials-for-data-upload$"
QUESTIONS = 3
ALWAYS = 10_000


@pytest.fixture
def tracked() -> Iterator[Tracking]:
    with tracking() as kept:
        yield kept


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tracked: Tracking) -> Iterator[StandIn]:
    with ExitStack() as stack:
        running = stack.enter_context(stand_in(tmp_path / "workspace", more=tracked.routes()))
        as_on_apps(monkeypatch, **running.environment())
        yield running


def as_on_apps(monkeypatch: pytest.MonkeyPatch, **workspace: str) -> None:
    """The service principal's variables, the experiment of `app.yaml`, and no token."""
    named = {"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": EXPERIMENT, **workspace}
    for name, value in named.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def watched(what: str) -> AsyncIterator[httpx.AsyncClient]:
    """The service with traces, in this loop; whether it stalled, and how long it took to stop."""
    async with AsyncExitStack() as running:
        client = await running.enter_async_context(service_here(config=GRAPHS, tracing="on"))
        # From here on: the graphs are loaded, and MLflow is imported while requests are served.
        async with stalls() as found:
            yield client
            stopping = time.monotonic()
            await running.aclose()
            stopped = time.monotonic() - stopping
    print(f"{what}: stopped in {stopped:.2f} s, worst stall {found.worst:.3f} s")  # noqa: T201
    assert found.worst < 0.1
    # Typically 3; the platform kills the process after 15.
    assert stopped < 13


async def ask(client: httpx.AsyncClient) -> None:
    """Questions that are answered as ever."""
    for _ in range(QUESTIONS):
        body = {"model": "plain", "input": [{"role": "user", "content": "Hi"}]}
        answer = await client.post("/responses", json=body)
        assert (answer.status_code, text_of(answer)) == (200, "Hello world.")


async def stored(tracked: Tracking, what: str, *, count: int = QUESTIONS) -> None:
    began = time.monotonic()
    with anyio.fail_after(30):
        while len(tracked.spans) < count:  # noqa: ASYNC110 - the store is in another thread
            await anyio.sleep(0.02)
    print(f"{what}: stored after {time.monotonic() - began:.2f} s")  # noqa: T201


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "graph_agent.tracing.exporter"]


async def test_a_trace_takes_three_calls_and_the_app_signs_in_once(standing: StandIn, tracked: Tracking) -> None:
    async with watched("no fault") as client:
        await ask(client)
        await stored(tracked, "no fault")
        standing.forget()
        await ask(client)
        await stored(tracked, "no fault", count=2 * QUESTIONS)
    assert standing.calls("/(oidc|.well-known)/", sign_in=True) == []
    assert len(standing.calls(START)) == len(standing.calls(LEND)) == QUESTIONS
    assert len(standing.calls()) == 2 * QUESTIONS
    assert len({one.token for one in standing.calls()}) == 1
    assert len(tracked.uploads) == 2 * QUESTIONS
    assert not any("authorization" in headers for headers in tracked.uploads)
    for name, info in tracked.traces.items():
        assert (tracked.spans[name][0]["name"], info["state"]) == ("plain", "OK")


FAULTS: dict[str, Callable[[StandIn, Tracking], Any]] = {
    "429": lambda standing, _: standing.fail(START, 429, headers={"retry-after": "1"}),
    "500": lambda standing, _: standing.fail(START, 500),
    "503": lambda standing, _: standing.fail(START, 503),
    "401": lambda standing, _: standing.fail(START, 401),
    "403": lambda standing, _: standing.fail(START, 403),
    "cut": lambda standing, _: standing.hang_up(START, after=0),
    "slow": lambda standing, _: standing.slow(START, 3.0),
    "503 on lending": lambda standing, _: standing.fail(LEND, 503),
    "403 on upload": lambda _, tracked: setattr(tracked, "down", 1),
}

STORE_FAULTS = frozenset({"503 on lending", "403 on upload"})


@pytest.mark.parametrize("fault", FAULTS)
async def test_traces_arrive_once_a_fault_has_passed(
    fault: str, standing: StandIn, tracked: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    FAULTS[fault](standing, tracked)
    async with watched(fault) as client:
        await ask(client)
        await stored(tracked, fault)
    assert len(tracked.spans) == len(tracked.uploads) == QUESTIONS
    # A trace that was taken is not sent again; but where only the answer was lost, nobody can know that.
    assert len(standing.calls(START)) <= QUESTIONS + (fault not in STORE_FAULTS)
    assert not any("lost at shutdown" in line for line in warnings_in(caplog))
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_traces_that_never_arrive_are_counted_once_and_tell_no_secret(
    status: int, standing: StandIn, tracked: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="graph_agent")
    body = {"error_code": "PERMISSION_DENIED", "message": "token dapi-planted is not allowed"}
    standing.fail(START, status, times=ALWAYS, body=body)
    async with watched(f"always {status}") as client:
        await ask(client)
    said = warnings_in(caplog)
    assert said[-1] == f"{QUESTIONS} traces lost at shutdown: the trace store did not accept them in time"
    assert len(said) <= 2
    assert "dapi-planted" not in caplog.text
    assert standing.credentials.client_secret not in caplog.text
    assert tracked.spans == {}


async def test_a_dead_workspace_delays_neither_answers_nor_the_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with dead_host() as url:
        as_on_apps(monkeypatch, DATABRICKS_HOST=url, DATABRICKS_CLIENT_ID="id", DATABRICKS_CLIENT_SECRET="s3cret")
        async with watched("dead host") as client:
            await ask(client)
    assert warnings_in(caplog)[-1].startswith(f"{QUESTIONS} traces lost at shutdown")
    assert "s3cret" not in caplog.text


async def test_a_process_with_undelivered_traces_ends_within_the_platform_s_grace() -> None:
    with dead_host() as url:
        secrets = {"DATABRICKS_CLIENT_ID": "id", "DATABRICKS_CLIENT_SECRET": "s3cret", "DATABRICKS_HOST": url}
        named = {"GRAPH_AGENT_TRACING": "on", "MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": EXPERIMENT}
        async with ready(**named, **secrets) as service, httpx.AsyncClient(base_url=service.url) as client:
            await ask(client)
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            await service.ended()
            took = time.monotonic() - began
    print(f"process: ended {took:.1f} s after SIGTERM")  # noqa: T201
    assert took < 15
