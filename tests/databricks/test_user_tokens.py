"""On whose behalf calls go out: as the app, or with each user's own token, never one for the other."""

import asyncio
import base64
import contextlib
import inspect
import json
import logging
import time
from collections import Counter
from typing import Any

import pytest
from langgraph.graph import MessagesState
from tests.databricks.conftest import USERS
from tests.databricks.service import forwarded, service_here, text_of
from tests.runs.running import a_run, chain, events_of
from tests.standin.server import StandIn

from graph_agent.errors import Unauthenticated
from graph_agent.identity.user_token import UserToken, user_token, with_user_token
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

MODEL = "/serving-endpoints/chat/completions"
ASK = {"model": "asking", "input": "What colour?"}


def jwt(*, expires_in: float) -> str:
    """A token that says when it ends; its signature is the proxy's business."""
    parts = [{"alg": "none"}, {"exp": time.time() + expires_in}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "signature"])


@pytest.fixture
def on_apps(monkeypatch: pytest.MonkeyPatch, standing: StandIn) -> StandIn:
    monkeypatch.setenv("DATABRICKS_APP_NAME", "agent")
    return standing


@pytest.fixture
def for_users(monkeypatch: pytest.MonkeyPatch, on_apps: StandIn) -> StandIn:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user-required")
    return on_apps


@pytest.fixture
def for_users_if_any(monkeypatch: pytest.MonkeyPatch, on_apps: StandIn) -> StandIn:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    return on_apps


async def test_twenty_users_at_once_each_call_with_their_own_token_and_nothing_else(for_users: StandIn) -> None:
    async with service_here(max_runs=60) as client:
        (await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))).raise_for_status()
        for_users.forget()
        answers = await asyncio.gather(
            *(client.post("/invocations", json=ASK, headers=forwarded(user)) for user in USERS for _ in range(3))
        )
    assert [text_of(answer) for answer in answers] == ["It is blue."] * 60
    # Every request there was, signing in and discovery too: one per run, and no other.
    assert Counter((call.path, call.token) for call in for_users.requests) == {
        (MODEL, for_users.user(user)): 3 for user in USERS
    }


async def test_the_app_calls_with_its_own_token_whatever_is_forwarded(on_apps: StandIn) -> None:
    async with service_here() as client:
        for user in USERS[:3]:
            (await client.post("/invocations", json=ASK, headers=forwarded(user))).raise_for_status()
    tokens = {call.token for call in on_apps.calls(MODEL)}
    assert len(tokens) == 1
    assert not tokens & {on_apps.user(user) for user in USERS}


async def test_the_token_reaches_nodes_and_tools_in_threads(for_users: StandIn) -> None:
    async with service_here() as client:
        answers = await asyncio.gather(
            *(
                client.post("/responses", json={"model": "whoami", "input": "Who am I?"}, headers=forwarded(user))
                for user in USERS[:5]
            )
        )
    told = [text_of(answer) for answer in answers]
    assert told == [f"async {user} sync {user} tool {user}" for user in USERS[:5]]


async def test_a_required_user_is_missed_before_anything_starts(for_users: StandIn) -> None:
    headers = {"x-forwarded-user": "ann"}
    async with service_here() as client:
        for_users.forget()
        answer = await client.post("/invocations", json=ASK | {"stream": True}, headers=headers)
        # The body is not even looked at.
        unread = await client.post("/invocations", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert "user authorization" in answer.json()["error"]["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert unread.status_code == 401
    assert for_users.requests == []


@pytest.mark.parametrize("authorization", ["user", "user-required"])
async def test_an_expired_token_is_refused_at_the_door(
    on_apps: StandIn, monkeypatch: pytest.MonkeyPatch, authorization: str
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", authorization)
    async with service_here() as client:
        on_apps.forget()
        expired = forwarded("ann") | {"x-forwarded-access-token": jwt(expires_in=-1)}
        answer = await client.post("/invocations", json=ASK, headers=expired)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert "expired" in answer.json()["error"]["message"]
    assert on_apps.requests == []


async def test_without_a_token_a_run_goes_on_until_it_needs_the_user(for_users_if_any: StandIn) -> None:
    async with service_here() as client:
        whole = await client.post("/invocations", json=ASK, headers={"x-forwarded-user": "ann"})
        streamed = await client.post("/invocations", json=ASK | {"stream": True}, headers={"x-forwarded-user": "ann"})
        threaded = await client.post("/invocations", json=ASK | {"model": "whoami"}, headers={"x-forwarded-user": "a"})
    assert (whole.status_code, whole.json()["error"]["code"]) == (401, "unauthenticated")
    assert threaded.status_code == 401
    assert streamed.status_code == 200
    assert '"unauthenticated"' in streamed.text
    # Never the app in the user's place.
    assert [call.line for call in for_users_if_any.calls() if call.token] == []


async def test_graphs_act_as_the_settings_of_their_service_say_and_not_as_the_environment(on_apps: StandIn) -> None:
    async with service_here(authorization="user") as client:
        await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))
    assert {call.token for call in on_apps.calls(MODEL)} == {f"user-{USERS[0]}"}


async def test_elsewhere_a_forwarded_token_is_not_believed(standing: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    async with service_here() as client:
        answer = await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))
    assert answer.status_code == 401
    assert standing.calls(MODEL) == []


async def test_a_token_the_workspace_refuses_is_not_replaced(for_users: StandIn) -> None:
    async with service_here() as client:
        for_users.fail(MODEL, 401)
        answer = await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert "sign in again" in answer.json()["error"]["message"]
    assert [call.token for call in for_users.calls(MODEL)] == [for_users.user(USERS[0])]


async def test_a_user_without_the_permission_is_told_which(for_users: StandIn) -> None:
    async with service_here() as client:
        for_users.fail(MODEL, 403)
        answer = await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "model_failed")
    assert "the calling user needs CAN_QUERY on it" in answer.json()["error"]["message"]


async def test_a_token_that_expires_between_two_tries_ends_the_call(for_users: StandIn) -> None:
    async with service_here() as client:
        # The imports of the first call must not use the token up.
        (await client.post("/invocations", json=ASK, headers=forwarded(USERS[0]))).raise_for_status()
        for_users.forget()
        for_users.fail(MODEL, 503, times=9, headers={"retry-after": "4"})
        token = jwt(expires_in=3)
        brief = forwarded(USERS[0]) | {"x-forwarded-access-token": token}
        began = time.monotonic()
        answer = await client.post("/invocations", json=ASK, headers=brief)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
    assert [call.token for call in for_users.requests] == [token]
    # The client's own retries of what it takes for a bad connection, and no more.
    assert time.monotonic() - began < 40


async def test_the_token_shows_nowhere_and_is_gone_after_the_request(
    for_users: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "graph_agent")
    async with service_here() as client:
        answer = await client.post("/responses", json=ASK | {"stream": True}, headers=forwarded(USERS[0]))
    assert for_users.user(USERS[0]) not in answer.text + caplog.text
    with pytest.raises(Unauthenticated):
        user_token()
    with with_user_token(UserToken("secret")):
        assert "secret" not in repr(user_token())


async def test_outside_apps_every_address_but_health_asks_for_the_bearer_token(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "open sesame")
    right: Any = {"authorization": "Bearer open sesame"}
    twice = [("authorization", "Bearer open sesame"), ("authorization", "Bearer other")]
    wrong: list[Any] = [{}, {"authorization": "Bearer open"}, {"authorization": "Basic open sesame"}, twice]
    async with service_here() as client:
        for headers in wrong:
            for method, address in [("POST", "/invocations"), ("GET", "/ready"), ("GET", "/agent/info"), ("GET", "/x")]:
                answer = await client.request(method, address, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready", headers=right)).status_code == 200
        assert text_of(await client.post("/invocations", json=ASK, headers=right)) == "It is blue."


async def test_on_apps_the_proxy_signs_callers_in_and_no_bearer_token_is_asked_for(
    on_apps: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_BEARER_TOKEN", "open sesame")
    async with service_here() as client:
        answer = await client.post("/invocations", json=ASK, headers=forwarded("ann"))
    assert text_of(answer) == "It is blue."


@pytest.mark.parametrize(
    ("host", "variables", "warned"),
    [
        ("0.0.0.0", {}, True),
        ("127.0.0.1", {}, False),
        ("0.0.0.0", {"GRAPH_AGENT_BEARER_TOKEN": "secret"}, False),
        ("0.0.0.0", {"DATABRICKS_APP_NAME": "agent"}, False),
    ],
)
async def test_a_service_open_to_strangers_says_so_at_its_start(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    host: str,
    variables: dict[str, str],
    warned: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with service_here(host=host):
        pass
    assert ("everyone who can reach" in caplog.text) is warned


async def test_what_a_run_left_behind_acts_for_nobody_once_it_has_ended() -> None:
    left: list[Any] = []
    told: list[str] = []
    until = asyncio.Event()

    async def later() -> None:
        told.append(user_token().value)
        await until.wait()
        for ask in (user_token, lambda: asyncio.to_thread(user_token)):
            try:
                found = ask()
                told.append((await found if inspect.isawaitable(found) else found).value)
            except Unauthenticated as error:
                told.append(error.message)

    async def leave_behind(state: MessagesState) -> dict[str, Any]:
        left.append(asyncio.create_task(later()))
        await asyncio.sleep(0)
        return {"messages": [("ai", "Done.")]}

    await events_of(chain(leave_behind), scope=Scope(token=UserToken("the-users-own")))
    until.set()
    await left[0]
    assert told[0] == "the-users-own"
    assert ["has ended" in words for words in told[1:]] == [True, True]


async def test_a_node_that_swallows_its_cancellation_acts_for_nobody_after_its_time() -> None:
    told: list[str] = []
    until = asyncio.Event()

    async def stubborn(state: MessagesState) -> dict[str, Any]:
        while not until.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await until.wait()
        try:
            told.append(user_token().value)
        except Unauthenticated as error:
            told.append(error.message)
        return {"messages": [("ai", "Done.")]}

    run = a_run(chain(stubborn), budgets=Budgets(seconds=0.2))
    run.start(Scope(token=UserToken("the-users-own")))
    events = [entry.event async for batch in run.batches(quiet_seconds=5.0) for entry in batch]
    assert events[-1]["response"]["status"] == "incomplete"
    until.set()
    await run.ended()
    assert "has ended" in told[0]
