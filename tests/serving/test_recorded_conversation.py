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
SAID = ("Hello 👩‍🚀", "search hours", "weather Rome", "weather Atlantis", "think", "fail")

ID = re.compile(r"\b(resp|msg|mcp|rs|call|node|conv)_[0-9a-f]{24,32}")
TIME = re.compile(r'"(created_at|completed_at|started_at|seconds)":[\d.e-]+')


def test_the_recorded_conversation_is_what_the_service_says() -> None:
    app = create_app(Settings(tracing="off", store="memory", default_graph="talk"), {"talk": Talk().graph()})
    with on_loopback(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        lines = [_recorded(client, text) for text in SAID]
    assert lines == RECORDED.read_text().splitlines()


def _recorded(client: httpx.Client, text: str) -> str:
    """A run as its stream told it, and as it is stored, without what differs from run to run."""
    body = {"input": text, "stream": True, "include": ["graph_agent.steps"]}
    *events, _ = frames(client.post("/v1/responses", json=body).text)
    stored = client.get(f"/v1/responses/{events[0]['response']['id']}").json()
    return _without_chance({"said": text, "events": events, "stored": stored})


def _without_chance(value: Any) -> str:
    names: dict[str, str] = {}
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    line = ID.sub(lambda found: names.setdefault(found[0], f"{found[1]}_{len(names)}"), line)
    return TIME.sub(r'"\1":1', line)
