"""Limits for people over HTTP: what clients are told before and after they are reached, and who is one user."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.graphs.scripted import says
from tests.runs.running import chain, speaking
from tests.serving.conftest import serving
from tests.serving.talking import talking

from graph_agent.commands.cli import main
from graph_agent.errors import BadSetting
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings
from graph_agent.testing import AgentClient, Usage

pytestmark = pytest.mark.anyio

STARTS: Mapping[str, dict[str, Any]] = {
    "/v1/responses": {"input": "Hi"},
    "/responses": {"input": "Hi", "store": False},
    "/invocations": {"input": [{"role": "user", "content": "Hi"}]},
    "/v1/chat/completions": {"model": "agent", "messages": [{"role": "user", "content": "Hi"}]},
}
"""A request that starts a run, at an address of each dialect."""

FRONT_END = {"bearer_token": "secret", "user_header": "X-User"}


def served(tmp_path: Path, *, tokens: int = 100, **settings: Any) -> AgentClient:
    """A service whose model reads and writes that many tokens in each call, and whose front end names its users."""
    values = {"tracing": "off", "store": f"sqlite:{tmp_path / 'store.sqlite'}", "max_output_tokens": 100}
    graph = chain(speaking(says("Hello.", usage=Usage(tokens - 10, 10))))
    app = create_app(Settings(**values | FRONT_END | settings), {"agent": graph}, environ={})
    return AgentClient(app, headers={"authorization": "Bearer secret", "x-user": "ann"})


async def refused(answer: httpx.Response) -> tuple[Any, ...]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["type"], answer.headers.get("x-should-retry")


@pytest.mark.parametrize("address", STARTS)
async def test_a_request_over_the_limit_gets_429_in_every_dialect_and_others_do_not(
    tmp_path: Path, address: str
) -> None:
    async with served(tmp_path, limit_user_requests_per_day=1) as client:
        first = await client.post(address, json=STARTS[address])
        assert first.status_code == 200, first.text
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(first.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 86_400
        assert "x-ratelimit-limit-tokens" not in first.headers
        for stream in (False, True):
            second = await client.post(address, json=STARTS[address] | {"stream": stream})
            assert await refused(second) == (429, "rate_limit_exceeded", "requests", "false")
            assert abs(int(second.headers["retry-after"]) - int(second.headers["x-ratelimit-reset-requests"][:-1])) <= 1
            assert "your limit of 1 requests per day is reached" in second.json()["detail"]
        other = await client.post(address, json=STARTS[address], headers={"x-user": "bob"})
        assert other.status_code == 200


@pytest.mark.parametrize("address", STARTS)
async def test_a_run_that_reaches_the_limit_fails_and_the_next_request_does_not_begin(
    tmp_path: Path, address: str
) -> None:
    # The second call of 100 tokens reserves more than the 90 that are left. The third request finds them still.
    async with served(tmp_path, limit_user_tokens_per_day=190) as client:
        assert (await client.post(address, json=STARTS[address])).status_code == 200
        whole = await client.post(address, json=STARTS[address])
        assert await refused(whole) == (429, "rate_limit_exceeded", "tokens", "false")
        async with client.http.stream("POST", address, json=STARTS[address] | {"stream": True}) as stream:
            assert stream.status_code == 200
            assert stream.headers["x-ratelimit-remaining-tokens"] == "90"
            said = (await stream.aread()).decode()
        assert "rate_limit_exceeded" in said
        assert "Hello" not in said


async def test_no_run_begins_when_no_token_is_left(tmp_path: Path) -> None:
    async with served(tmp_path, tokens=200, limit_tokens_per_day=180) as client:
        assert (await client.post("/v1/responses", json={"input": "Hi"})).status_code == 200
        answer = await client.post("/v1/responses", json={"input": "Hi", "stream": True})
        assert await refused(answer) == (429, "rate_limit_exceeded", "tokens", "false")
        assert "the limit of all users together of 180 tokens per day" in answer.json()["error"]["message"]
        background = await client.post("/v1/responses", json={"input": "Hi", "background": True})
        assert background.status_code == 429


async def test_openais_sdk_knows_the_error_and_does_not_try_again(tmp_path: Path) -> None:
    async with served(tmp_path, limit_requests_per_day=1) as client:
        asked: list[str] = []

        async def note(request: httpx.Request) -> None:
            asked.append(request.url.path)

        client.http.event_hooks["request"].append(note)
        sdk = openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="secret", http_client=client.http)
        await sdk.responses.create(input="Hi")
        with pytest.raises(openai.RateLimitError) as limited:
            await sdk.responses.create(input="Hi")
        assert (limited.value.code, limited.value.type) == ("rate_limit_exceeded", "requests")
        assert len(asked) == 2


async def test_a_request_that_joins_a_run_does_not_count_again(tmp_path: Path) -> None:
    async with served(tmp_path, limit_requests_per_day=1) as client:
        answers = [
            await client.post("/v1/responses", json={"input": "Hi"}, headers={"idempotency-key": "one"})
            for _ in range(2)
        ]
        assert [one.status_code for one in answers] == [200, 200]
        assert answers[0].json()["id"] == answers[1].json()["id"]


async def test_the_caller_of_a_conversation_approves_and_its_background_run_goes_on(tmp_path: Path) -> None:
    limits = {"limit_user_tokens_per_day": 150, "limit_user_extra_tokens": 100}
    async with served(tmp_path, **limits) as client:
        await client.post("/v1/responses", json={"input": "Hi"})
        queued = (await client.post("/v1/responses", json={"input": "Hi", "background": True})).json()
        async with client.http.stream("GET", f"/v1/responses/{queued['id']}", params={"stream": True}) as stream:
            await stream.aread()
        [question] = (await client.get(f"/v1/responses/{queued['id']}")).json()["output"]
        assert (question["type"], question["name"]) == ("mcp_approval_request", "question")
    # After a restart.
    async with served(tmp_path, **limits) as client:
        decision = {"type": "mcp_approval_response", "approval_request_id": question["id"], "approve": True}
        body = {"input": [decision], "previous_response_id": queued["id"]}
        stranger = await client.post("/v1/responses", json=body, headers={"x-user": "bob"})
        assert stranger.status_code == 404
        answer = await client.post("/v1/responses", json=body)
        assert answer.json()["output"][-1]["content"][0]["text"] == "Hello."


async def test_a_message_of_a_websocket_counts_and_is_refused_without_ending_the_connection() -> None:
    graph = chain(speaking(says("Hello.", usage=Usage(50, 50))))
    limits = {"max_output_tokens": 100, "limit_user_tokens_per_day": 190, "limit_requests_per_day": 3}
    with serving(graphs={"a": graph}, **limits) as service:
        async with talking(service) as talk:
            ends = [(await talk.turn(input="Hi", store=False))[-1] for _ in range(4)]
    assert [end["type"] for end in ends[:2]] == ["response.completed", "response.failed"]
    assert ends[1]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert (ends[3]["type"], ends[3]["status"]) == ("error", 429)
    assert (ends[3]["error"]["code"], ends[3]["error"]["type"]) == ("rate_limit_exceeded", "requests")


async def test_without_limits_no_answer_says_what_is_left(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        answer = await client.post("/v1/responses", json={"input": "Hi"})
        assert [name for name in answer.headers if name.startswith("x-ratelimit")] == []


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("limit_user_tokens_per_day", 100, "above GRAPH_AGENT_MAX_OUTPUT_TOKENS"),
        ("limit_tokens_per_day", 0, "at least 1"),
        ("limit_user_extra_tokens", 5, "needs GRAPH_AGENT_LIMIT_USER_TOKENS_PER_DAY"),
        ("limit_requests_per_minute", 10**16, "at most"),
        ("usage_days", -1, "at least 0"),
    ],
)
def test_a_limit_that_cannot_work_stops_the_start(setting: str, value: int, says: str) -> None:
    with pytest.raises(BadSetting, match=says) as wrong:
        Settings(max_output_tokens=100, **{setting: value})
    assert wrong.value.param == f"GRAPH_AGENT_{setting.upper()}"


# -- the table over HTTP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/v1", "/api"])
async def test_callers_see_their_own_usage_and_operators_that_of_all(tmp_path: Path, prefix: str) -> None:
    async with served(tmp_path, operators="Root@example.com, BOB") as client:
        for user in ("ann", "ann", "bob"):
            await client.post("/v1/responses", json={"input": "Hi"}, headers={"x-user": user})

        async def table(asking: str, **query: str) -> Any:
            return (await client.get(f"{prefix}/usage", params=query, headers={"x-user": asking})).json()

        body = await table("ann")
        assert (body["object"], body["all_users"], body["has_more"]) == ("usage", False, False)
        assert body["data"] == [
            {
                "user": "front_end:ann",
                "graph": "agent",
                "model": "scripted",
                "calls": 2,
                "input_tokens": 180,
                "cached_tokens": 0,
                "output_tokens": 20,
                "reasoning_tokens": 0,
                "lost_tokens": 0,
                "total_tokens": 200,
            }
        ]
        for own in ("ann", "front_end:ann"):
            assert (await table("ann", user=own))["data"] == body["data"]
        error = (await table("ann", user="bob"))["error"]
        assert (error["code"], error["type"], error["param"]) == ("operators_only", "permission_error", "user")
        everybody = await table("bob")
        assert everybody["all_users"]
        assert [row["user"] for row in everybody["data"]] == ["front_end:ann", "front_end:bob"]
        assert [row["user"] for row in (await table("bob", user="bob"))["data"]] == ["front_end:bob"]
        assert (await table("bob", until="2020-12-31", since="2020-01-01"))["data"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("since=yesterday", "since"),
        ("until=20261130", "until"),
        ("since=2026-13-01", "since"),
        ("user=", "user"),
        ("days=3", "days"),
    ],
)
async def test_a_query_that_cannot_be_answered_names_its_parameter(tmp_path: Path, query: str, param: str) -> None:
    async with served(tmp_path) as client:
        answer = await client.get(f"/usage?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


# -- graph-agent usage --------------------------------------------------------------------------------------------


@pytest.fixture
async def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a service that was used, and of which the command reads."""
    async with served(tmp_path) as client:
        for user in ("ann", "ann", "bob"):
            await client.post("/v1/responses", json={"input": "Hi"}, headers={"x-user": user})
    monkeypatch.setenv("GRAPH_AGENT_STORE", f"sqlite:{tmp_path / 'store.sqlite'}")
    return tmp_path


@pytest.mark.usefixtures("used")
async def test_the_command_shows_who_has_used_what_with_a_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["usage"]) == 0
    heads, ann, bob, total = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heads == ["USER", "GRAPH", "MODEL", "CALLS", "INPUT", "CACHED", "OUTPUT", "REASONING", "LOST", "TOTAL"]
    assert ann == ["front_end:ann", "agent", "scripted", "2", "180", "0", "20", "0", "0", "200"]
    assert bob == ["front_end:bob", "agent", "scripted", "1", "90", "0", "10", "0", "0", "100"]
    assert total == ["total", "3", "270", "0", "30", "0", "0", "300"]


@pytest.mark.usefixtures("used")
async def test_the_command_sums_by_what_is_asked_and_writes_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(main, ["usage", "--by", "model", "--user", "bob", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "model": "scripted",
            "calls": 1,
            "input_tokens": 90,
            "cached_tokens": 0,
            "output_tokens": 10,
            "reasoning_tokens": 0,
            "lost_tokens": 0,
            "total_tokens": 100,
        }
    ]
    assert await asyncio.to_thread(main, ["usage", "--until", "2020-01-31", "--since", "2020-01-01"]) == 0
    assert capsys.readouterr().out == "nothing was used from 2020-01-01 to 2020-01-31\n"


def test_the_command_makes_no_file_and_says_what_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_STORE", f"sqlite:{tmp_path / 'none.sqlite'}")
    assert main(["usage"]) == 0
    assert not (tmp_path / "none.sqlite").exists()
    monkeypatch.setenv("GRAPH_AGENT_STORE", "memory")
    assert main(["usage"]) == 2
    assert "set GRAPH_AGENT_STORE to a file or a database" in capsys.readouterr().err
    for wrong in (["--since", "yesterday"], ["--by", "month"]):
        with pytest.raises(SystemExit):
            main(["usage", *wrong])
    said = capsys.readouterr().err
    assert "'yesterday' is not a day" in said
    assert "'month' is not one of day, user, graph, model" in said
