"""Asks the agent over HTTP, as a client does. A script replaces the model, so no model is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graph_agent import Settings, create_app
from graph_agent.testing import Call, FakeWorkspace, SyncAgentClient

PROJECT = Path(__file__).parents[1]
INDEX = "main.docs.project"


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, *replies: Any) -> Iterator[SyncAgentClient]:
    """Yield a client of the agent. The model gives these replies in order."""
    documents = [path.read_text(encoding="utf-8") for path in sorted(PROJECT.glob("documents/*.md"))]
    settings = Settings(config=PROJECT / "langgraph.json", index=INDEX, tracing="off", store="memory")
    with FakeWorkspace(*replies, indexes={INDEX: documents}) as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        with SyncAgentClient(create_app(settings)) as client:
            yield client


def test_it_answers_from_the_documents_and_looks_orders_up(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Call("search_docs", {"query": "how long may I take to return a purchase"})
    # The model searches, finds that the passages answer the question, and answers.
    returns = [search, "yes", "Within 30 days of delivery. [1]"]
    order = [Call("order_status", {"order": "A1001"}), "Order A1001 was sent on 3 May."]
    with served(monkeypatch, *returns, *order) as client:
        answer = client.ask("How long may I take to return a purchase?")
        assert text_of(answer) == "Within 30 days of delivery. [1]"
        assert [source["cited"] for source in answer["custom_outputs"]["sources"]].count(True) == 1

        answer = client.ask("Where is order A1001?")
        assert "sent on 3 May" in [item.get("output") for item in answer["output"]]
        assert text_of(answer) == "Order A1001 was sent on 3 May."


def text_of(response: dict[str, Any]) -> str:
    """Return the text of the last message in the response."""
    [*_, message] = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for part in message["content"])
