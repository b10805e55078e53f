"""A Databricks workspace on the loopback interface that records every request, and can be made to fail.

It is the local workspace of this project with a scripted model, a small index, and further routes of a test. The real
client libraries talk to it over real sockets.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.routing import BaseRoute
from tests.local.conftest import HashingEmbedder

from graph_agent.local.index.index import Index
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.testing import Recording, on_loopback

INDEX = "main.docs.project"
ENDPOINT = "local-model"
DOCUMENTS = {
    "settings.md": "# Settings\n\n## Timeouts\n\nThe timeout is thirty seconds.\n\n## Colours\n\nDark mode is blue.\n",
    "budgets.md": "# Budgets\n\nA budget bounds what one run may use: steps, calls, seconds and tokens.\n",
}
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


class StandIn(Recording):
    """A running stand-in."""

    def __init__(self, credentials: Credentials, model: "ScriptedModel") -> None:
        super().__init__()
        self.url = ""
        self.credentials = credentials
        self.model = model

    def user(self, name: str) -> str:
        """Return the token of a user: `user-NAME`."""
        return f"user-{name}"

    def environment(self) -> dict[str, str]:
        """Return the variables that Databricks Apps sets for its service principal, without a token."""
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": self.credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": self.credentials.client_secret,
        }


def delta(finish_reason: str | None = None, **content: Any) -> dict[str, Any]:
    """Return one chunk of a chat completion."""
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


def says(*words: str) -> list[dict[str, Any]]:
    """Return the chunks of an answer. The last one has the usage."""
    return [
        delta(role="assistant", content=""),
        *(delta(content=word) for word in words),
        delta("stop") | {"usage": USAGE},
    ]


def calls(name: str, **arguments: Any) -> list[dict[str, Any]]:
    """Return the chunks of one tool call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    piece = {"index": 0, "id": f"call_{name}", "type": "function", "function": function}
    return [delta(tool_calls=[piece]), delta("tool_calls") | {"usage": USAGE}]


Script = Callable[[Mapping[str, Any]], Sequence[dict[str, Any]]]


@dataclass
class ScriptedModel:
    """The chat endpoint. `script` computes the chunks from the request's body, so that requests can overlap.

    A number among the chunks is a pause in seconds.
    """

    script: Callable[[Mapping[str, Any]], Sequence[Any]] = lambda body: says("It ", "is ", "blue.")
    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Answer one request."""
        self.bodies.append(body)
        for chunk in self.script(body):
            if isinstance(chunk, int | float):
                await asyncio.sleep(chunk)
            else:
                yield chunk
                # One write for each chunk, as over a real network.
                await asyncio.sleep(0)


def results_in(body: Mapping[str, Any]) -> int:
    """Return the number of tool results since the last question."""
    count = 0
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        count += message["role"] == "tool"
    return count


@contextmanager
def stand_in(
    folder: Path,
    *,
    users: Sequence[str] = (),
    more: Sequence[BaseRoute] = (),
    model: ScriptedModel | None = None,
    token: str | None = None,
    index_name: str = INDEX,
) -> Iterator[StandIn]:
    """Run a stand-in with one index on a free port until the block ends.

    The tokens `user-NAME` of all `users` are known. `token` is accepted in addition to the tokens that it issues.
    """
    credentials, model = Credentials.generate(), model or ScriptedModel()
    credentials = replace(credentials, token=token or credentials.token)
    documents = folder / "documents"
    documents.mkdir(parents=True)
    for name, text in DOCUMENTS.items():
        (documents / name).write_text(text)
    embedder = HashingEmbedder()
    with ExitStack() as stack:
        index = stack.enter_context(Index.open(folder / "index.db", embedder))
        index.sync([documents])
        workspace = create_workspace(
            model,
            {index_name: index},
            embedder=embedder,
            credentials=credentials,
            users={f"user-{name}": name for name in users},
            more=more,
        )
        standing = StandIn(credentials, model)
        standing.url = stack.enter_context(on_loopback(standing.recorded(workspace)))
        yield standing


@contextmanager
def dead_host() -> Iterator[str]:
    """Yield the URL of a port where nothing listens, and that no other process can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
