"""Twenty planted secrets, told by everyone who can: in no response, log line, span or checkpoint is one of them."""

import asyncio
import importlib.util
import json
import secrets
import signal
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from tests.serving.conftest import serving
from tests.serving.test_process import address as url_in
from tests.serving.test_process import graph_agent
from tests.standin.server import StandIn, stand_in
from tests.standin.stalls import stalls

from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol.requests import parse_request
from graph_agent.redaction import with_hidden_values

pytestmark = pytest.mark.anyio

GRAPHS = Path(__file__).parent.parent / "graphs"


def drawn(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Fresh random characters, a digit among them."""
    return "".join(secrets.choice(alphabet) for _ in range(length - 1)) + "7"


def hexes(length: int) -> str:
    return secrets.token_hex(length // 2)


class Planted:
    """A text that holds a secret, and the part that nobody may find."""

    def __init__(self, frame: str, core: str) -> None:
        self.text, self.core = frame.format(core), core


def planted() -> dict[str, Planted]:
    """Another twenty for each run."""
    pem = "\n".join(drawn(64) for _ in range(8))
    return {
        "header_bearer": Planted("{}", drawn(40)),
        "header_user_token": Planted("eyJ{}", f"{drawn(30)}.eyJ{drawn(60)}.{drawn(43)}"),
        "cookie": Planted("{}", drawn(32)),
        "user_text": Planted("dapi{}", hexes(32)),
        "user_dsn": Planted("mysql://me:{}@db/main", drawn(12)),
        "instructions": Planted("AKIA{}", drawn(16, string.ascii_uppercase + "2345")),
        "metadata": Planted("sk-proj-{}", drawn(40)),
        "node_exception": Planted("postgres://app:{}@db/main", drawn(14)),
        "log": Planted("ghp_{}", drawn(36)),
        "model_endpoint": Planted("AIza{}", drawn(35)),
        "tool": Planted("xoxb-{}", f"{drawn(11, string.digits)}-{drawn(24)}"),
        "tool_json": Planted("{}", drawn(20)),
        "tool_exception": Planted("password={}", drawn(14)),
        "tool_refusal": Planted("glpat-{}", drawn(20)),
        "foreign_tool": Planted("sk-ant-api03-{}", drawn(50)),
        "foreign_exception": Planted("AccountKey={}==", drawn(60)),
        "mcp_text": Planted("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", pem),
        "mcp_structured": Planted("dose{}", hexes(32)),
        "passage": Planted("https://bot:{}@wiki/page", drawn(14)),
        "environment": Planted("{}", drawn(24)),
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[StandIn]:
    with stand_in(tmp_path / "workspace") as standing:
        yield standing


def found_in(secret: Planted, data: bytes) -> bool:
    """Line by line: how a line end is written depends on the place."""
    lines = secret.core.splitlines()
    return any(line.encode() in data for line in (lines[len(lines) // 2], lines[-1]))


async def test_twenty_planted_secrets_are_found_nowhere(tmp_path: Path, workspace: StandIn) -> None:
    hidden = planted()
    assert len(hidden) == 20
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"leaky": str(GRAPHS / "leaky.py") + ":graph"}}))
    refusal = {"error_code": "INTERNAL_ERROR", "message": f"upstream said {hidden['model_endpoint'].text}"}
    workspace.fail("/chat/completions|/invocations", 500, times=100, body=refusal)
    traces = tmp_path / "cache" / "traces.db"
    environment = workspace.environment() | {
        "LEAKS": json.dumps({name: secret.text for name, secret in hidden.items()}),
        "OTHER_SERVICE_TOKEN": hidden["environment"].text,
        "GRAPH_AGENT_TRACING": "on",
        "GRAPH_AGENT_TRACKING_URI": f"sqlite:///{traces}",
        "GRAPH_AGENT_MODEL_SECONDS": "6",
    }
    traces.parent.mkdir()
    answers = b""
    async with graph_agent("--config", str(tmp_path / "langgraph.json"), **environment) as running:
        with anyio.fail_after(120):
            running.url = url_in(await running.logged("running on http"))
            await running.logged("ready: serving")
            async with running.client() as client:
                client.timeout = 60
                for leak in ("ours", "foreign", "node", "endpoint"):
                    for where in ("/responses", "/invocations", "/v1/responses"):
                        for stream in (True, False):
                            answer = await client.post(
                                where, headers=headers(hidden), json=body(hidden, leak) | {"stream": stream}
                            )
                            answers += answer.content + repr(answer.headers).encode()
                wrong = await client.post("/responses", headers=headers(hidden), json={hidden["user_text"].text: 1})
                answers += wrong.content + repr(wrong.headers).encode()
        running.process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            await running.ended()
    log = "".join(running.log).encode()
    spans = b"".join(path.read_bytes() for path in sorted(traces.parent.glob("traces.db*")))
    places = {"responses": answers, "log": log, "spans": spans}
    # Each place has something to tell, or finding nothing there would say nothing.
    assert answers.count(b"[redacted") > 40
    assert b"[redacted GitHub token]" in log
    assert spans.count(b"[redacted Slack token]") > 5
    leaked = {(name, place) for name, one in hidden.items() for place, data in places.items() if found_in(one, data)}
    assert leaked == set()
    request_lines = [json.loads(line) for line in running.log if '"duration_ms"' in line]
    assert {line["request_id"] for line in request_lines if line["path"] != "/health"} == {"req-4711"}
    assert all(line["run_id"] and line["trace_id"] for line in request_lines if line["status"] == 200)


async def test_no_checkpoint_holds_a_planted_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = planted()
    monkeypatch.setenv("LEAKS", json.dumps({name: secret.text for name, secret in hidden.items()}))
    spec = importlib.util.spec_from_file_location("leaky_checkpointed", GRAPHS / "leaky.py")
    assert spec is not None
    assert spec.loader is not None
    leaky = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "leaky_checkpointed", leaky)
    spec.loader.exec_module(leaky)
    saver = InMemorySaver()
    graph = leaky.of_node_makers().compile(checkpointer=saver)
    # What the service hides on its own: the headers' credentials and, on behalf of a user, their token.
    credentials = [hidden["header_bearer"].text, hidden["cookie"].text]
    with (
        with_hidden_values([*credentials, hidden["environment"].text]),
        with_user_token(UserToken(hidden["header_user_token"].text)),
    ):
        invocation = parse_request(json.dumps(body(hidden, "ours")).encode(), graphs=["leaky"])
        config = {"configurable": {"thread_id": "t"}}
        state = await graph.ainvoke({"messages": list(invocation.messages)}, config, durability="sync")
    kept = repr((dict(saver.storage), dict(saver.writes), dict(saver.blobs))).encode()
    assert len(state["messages"]) > 6
    assert kept.count(b"[redacted") > 8
    leaked = {name for name, one in hidden.items() if found_in(one, kept)}
    assert leaked == set()


async def test_looking_for_secrets_in_a_great_body_holds_nobody_up() -> None:
    said = "The quick brown fox jumps over the lazy dog, and then it goes home. " * 30
    body_of_4_mb = json.dumps({"model": "none", "input": [{"role": "user", "content": said}] * 1_900}).encode()
    with serving() as service:
        answered = asyncio.Event()

        async def measured() -> float:
            async with stalls() as found:
                await answered.wait()
            return found.worst

        measuring = asyncio.run_coroutine_threadsafe(measured(), service.loop)
        async with service.client() as client:
            answer = await client.post(
                "/v1/responses", content=body_of_4_mb, headers={"content-type": "application/json"}
            )
        service.loop.call_soon_threadsafe(answered.set)
        worst = await asyncio.wrap_future(measuring)
    assert answer.json()["error"]["code"] == "unknown_graph"
    assert worst < 0.1, worst


async def test_everyday_words_of_variables_and_cookies_stay_in_answers() -> None:
    # A cookie without a telling name counts as random if its letters and digits alternate.
    session, drawn_cookie = drawn(32), f"a1b2c3{drawn(34)}"
    ordinary = "postgres takes anything in America/New_York for azure-active-directory since 2024-11-22T10:00:00"
    cookies = {
        "tz": "America/New_York",
        "seen": "2024-11-22T10:00:00",
        "auth_provider": "azure-active-directory",
        "author": "postgres takes anything",
        "__Host-sid": session,
        "x": drawn_cookie,
    }
    environment = {"OPENAI_API_KEY": "anything", "POSTGRES_PASSWORD": "postgres"}
    async with graph_agent("--config", str(GRAPHS / "langgraph.json"), **environment) as running:
        with anyio.fail_after(60):
            running.url = url_in(await running.logged("running on http"))
            await running.logged("ready: serving")
            async with running.client() as client:
                said = {"model": "echo", "input": f"{ordinary} {session} {drawn_cookie}"}
                sent = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
                answer = await client.post("/responses", json=said, headers=sent)
    assert f"{ordinary} [redacted known secret] [redacted known secret]" in answer.text


def headers(hidden: dict[str, Planted]) -> dict[str, str]:
    return {
        "authorization": f"Bearer {hidden['header_bearer'].text}",
        "x-forwarded-access-token": hidden["header_user_token"].text,
        "cookie": f"theme=dark; session={hidden['cookie'].text}",
        "x-request-id": "req-4711",
    }


def body(hidden: dict[str, Planted], leak: str) -> dict[str, Any]:
    said = ("user_text", "user_dsn", "header_bearer", "header_user_token", "cookie")
    return {
        "model": "leaky",
        "input": "What is wrong with " + " or ".join(hidden[name].text for name in said),
        "instructions": f"Use {hidden['instructions'].text}",
        "metadata": {"note": hidden["metadata"].text},
        "custom_inputs": {"leak": leak},
    }
