"""Finds model servers that already run on this machine: Ollama, LM Studio, vLLM and llama.cpp.

Each is asked at the port of its documentation for the list of its models: Ollama at `/api/tags`, the others at
`/v1/models` of OpenAI's API. Only the address of loopback is asked, without a key, and nothing is downloaded or loaded.
"""

import asyncio
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph_agent.printable import one_line

SEARCH_SECONDS = 0.3
"""How long the whole search may take. A server that is slower than this is not found."""

MOST_BYTES = 1 << 20
"""Size limit of an answer. One model takes about 400 bytes in the list of Ollama."""

MOST_NAMED = 4
"""Names of models that a line has."""

MOST_LETTERS = 80
"""Characters of a name. What has a longer one is left out: a name that is cut would be wrong in the settings."""

EMBEDS = ("embed", "bert", "minilm", "bge-", "rerank", "whisper")
"""Parts of the names and families of models that do not chat."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of server listens unless it is told otherwise."""

    name: str
    port: int
    path: str = "/v1/models"


PLACES = (
    Place("Ollama", 11434, "/api/tags"),
    Place("LM Studio", 1234),
    Place("vLLM", 8000),
    Place("llama.cpp", 8080),
)

OWNERS: Mapping[str, str] = {"vllm": "vLLM", "llamacpp": "llama.cpp", "library": "Ollama"}
"""What `owned_by` of a model says about the server. Port 8000 and port 8080 are used by many programs."""

OURS = "graph-agent"
"""`owned_by` of graph-agent's own service, whose default port is that of vLLM. Its models are graphs."""


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A server that answered, with the names of its chat models in the server's order."""

    name: str
    port: int
    models: tuple[str, ...]

    @property
    def base_url(self) -> str:
        """The base URL of its OpenAI-compatible API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def settings(self) -> str:
        """The two settings that use its first model, as a shell reads them."""
        return f"GRAPH_AGENT_LOCAL_MODEL={self.base_url} GRAPH_AGENT_LOCAL_MODEL_NAME={shlex.quote(self.models[0])}"

    def __str__(self) -> str:
        more = f" and {len(self.models) - MOST_NAMED} more" if len(self.models) > MOST_NAMED else ""
        return f"{self.name} runs on port {self.port} with {', '.join(self.models[:MOST_NAMED])}{more}"


def find_model_servers(places: Iterable[Place] = PLACES, *, seconds: float = SEARCH_SECONDS) -> list[ModelServer]:
    """The model servers that answer, in the order of `places`. All are asked at once, and none is waited for longer.

    Call it where no event loop runs.
    """
    return asyncio.run(_found(tuple(places), seconds))


async def _found(places: Sequence[Place], seconds: float) -> list[ModelServer]:
    asked = [asyncio.create_task(_ask(place)) for place in places]
    done, late = await asyncio.wait(asked, timeout=seconds) if asked else (set(), set())
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [server for task in asked if task in done and (server := task.result())]


async def _ask(place: Place) -> ModelServer | None:
    # Not with httpx, whose import takes longer than the whole search.
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    except OSError:
        return None
    try:
        # HTTP/1.0: the answer is neither compressed nor in chunks, and ends with the connection.
        lines = (f"GET {place.path} HTTP/1.0", f"Host: 127.0.0.1:{place.port}", "Connection: close", "", "")
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        return _read(place, await _answer(reader))
    except OSError:
        return None
    finally:
        writer.transport.abort()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The whole answer, up to its limit."""
    answer = bytearray()
    while len(answer) <= MOST_BYTES and (block := await reader.read(1 << 16)):
        answer += block
    return bytes(answer)


def _read(place: Place, answer: bytes) -> ModelServer | None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"] or len(answer) > MOST_BYTES:
        return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    listed = found.get("models") if place.path == "/api/tags" else found.get("data")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    owners = {owner for entry in entries if isinstance(owner := entry.get("owned_by"), str)}
    models = tuple(name for entry in entries if (name := _chat_model(entry)))
    if not models or OURS in owners:
        return None
    return ModelServer(_name(place, owners), place.port, models)


def _name(place: Place, owners: set[str]) -> str:
    said = [OWNERS[owner] for owner in sorted(owners) if owner in OWNERS]
    if said:
        return said[0]
    return place.name if place.port in (PLACES[0].port, PLACES[1].port) else "A model server"


def _chat_model(entry: Mapping[str, Any]) -> str:
    """The name of a model. Empty if it is none, one of another machine, or one that does not chat."""
    name = entry.get("name") or entry.get("id")
    # Ollama also lists models that it only asks for on another machine. Questions would leave this one.
    if entry.get("remote_host") or entry.get("remote_model"):
        return ""
    if not isinstance(name, str) or not 0 < len(name) <= MOST_LETTERS or one_line(name) != name:
        return ""
    details = entry.get("details")
    family = details.get("family") if isinstance(details, dict) else ""
    described = f"{name} {family}".lower()
    return "" if any(part in described for part in EMBEDS) else name
