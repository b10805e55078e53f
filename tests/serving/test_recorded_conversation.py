"""What the page's tests play is what the service says: `recorded/conversation.jsonl`, one run a line."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from tests.page.talking import Talk
from tests.wire import frames

from graph_agent import Settings, create_app
from graph_agent.testing.loopback import on_loopback

RECORDED = Path(__file__).parent / "recorded" / "conversation.jsonl"
ANSWER = "mcp_approval_response"
SAID = ("Hello 👩‍🚀", "search hours", "weather Rome", "weather Atlantis", "think", "fail", "mail Ann, Bob")

ID = re.compile(r"\b(resp|msg|mcp|mcpr|rs|call|node|conv)_[0-9a-f]{24,32}")
TIME = re.compile(r'"(created_at|completed_at|started_at|seconds)":[\d.e-]+')


def test_the_recorded_conversation_is_what_the_service_says() -> None:
    app = create_app(Settings(tracing="off", store="memory", default_graph="talk"), {"talk": Talk().graph()})
    with on_loopback(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        runs = [_run(client, text) for text in SAID]
        ann, bob = [one["id"] for one in runs[-1]["stored"]["output"] if one["type"] == "mcp_approval_request"]
        # Bob's is asked again.
        runs.append(_run(client, [{"type": ANSWER, "approval_request_id": ann, "approve": True}]))
        runs.append(_run(client, [{"type": ANSWER, "approval_request_id": bob, "approve": False, "reason": "no"}]))
    names: dict[str, str] = {}
    assert [_without_chance(run, names) for run in runs] == RECORDED.read_text().splitlines()


def _run(client: httpx.Client, said: Any) -> Any:
    """A run as its stream told it, and as it is stored."""
    body = {"input": said, "stream": True, "include": ["graph_agent.steps"]}
    *events, _ = frames(client.post("/v1/responses", json=body).text)
    stored = client.get(f"/v1/responses/{events[0]['response']['id']}").json()
    return {"said": said, "events": events, "stored": stored}


def _without_chance(value: Any, names: dict[str, str]) -> str:
    """As text, without times, and with ids by the order in which they appear."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    line = ID.sub(lambda found: names.setdefault(found[0], f"{found[1]}_{len(names)}"), line)
    return TIME.sub(r'"\1":1', line)
