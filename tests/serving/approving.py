"""A client of graphs that ask a person, and what their tools have done."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.conftest import serving

GRAPHS = Path(__file__).parent.parent / "graphs" / "approving" / "langgraph.json"

ADDRESSES = ["/v1/responses", "/responses", "/invocations"]


def answer(approval: Any, approve: bool = True, **more: Any) -> dict[str, Any]:
    """The answer to an approval, which is given by its item or its id."""
    id_ = approval if isinstance(approval, str) else approval["id"]
    return {"type": "mcp_approval_response", "approval_request_id": id_, "approve": approve, **more}


@dataclass
class Person:
    """Somebody who talks with one graph at one address. Each request names the conversation."""

    http: httpx.Client
    address: str
    graph: str
    headers: dict[str, str] = field(default_factory=dict)
    conversation: str = field(default_factory=lambda: f"talk-{os.urandom(6).hex()}")

    def post(self, content: Any, **fields: Any) -> httpx.Response:
        """Any request. Without `context`, it names the conversation."""
        body = {"model": self.graph, "input": content, "context": {"conversation_id": self.conversation}} | fields
        return self.http.post(self.address, json={k: v for k, v in body.items() if v is not None}, headers=self.headers)

    def say(self, content: Any, **fields: Any) -> dict[str, Any]:
        """The response to a request that succeeds."""
        response = self.post(content, **fields)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        assert body["status"] == "completed"
        return body

    def refused(self, content: Any, **fields: Any) -> tuple[int, Any]:
        """The status and the error of a request that fails."""
        response = self.post(content, **fields)
        return response.status_code, response.json()["error"]


def asked(response: dict[str, Any]) -> list[Any]:
    """The approvals that a response asks for."""
    return [item for item in response["output"] if item["type"] == "mcp_approval_request"]


def text_of(response: dict[str, Any]) -> list[str]:
    """The texts of a response."""
    messages = [item for item in response["output"] if item["type"] == "message"]
    return [part["text"] for item in messages for part in item["content"]]


def results(response: dict[str, Any]) -> dict[str, str]:
    """The id of the approval, or else of the call -> the result, in any dialect."""
    found = {}
    for item in response["output"]:
        if item["type"] == "function_call_output":
            found[item["call_id"]] = item["output"]
        elif item["type"] == "mcp_call":
            found[item["approval_request_id"] or item["id"]] = item["output"] or item["error"]
    return found


@dataclass
class Effects:
    """What tools and nodes have done."""

    path: Path

    def __call__(self) -> list[str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.path.unlink(missing_ok=True)
        return lines

    def wait(self) -> None:
        """Wait until another process has done something."""
        while not (self.path.exists() and self.path.stat().st_size):
            time.sleep(0.01)


@contextmanager
def approving(folder: Path, **settings: Any) -> Iterator[Any]:
    """A service of these graphs."""
    with pytest.MonkeyPatch.context() as patch, serving(config=GRAPHS, **settings) as service:
        patch.setenv("EFFECTS", str(folder / "effects"))
        yield service
