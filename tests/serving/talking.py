"""A client of the WebSocket: the library's own, which sends messages and reads the answer of each."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.serving.conftest import Service
from websockets.asyncio.client import ClientConnection, connect

LAST = ("response.completed", "response.incomplete", "response.failed", "error")
ADDRESS = "/v1/responses"


class Talk:
    """One connection."""

    def __init__(self, connection: ClientConnection, model: str) -> None:
        self.connection = connection
        self._model = model

    async def send(self, **fields: Any) -> None:
        """Send a `response.create`."""
        await self.connection.send(json.dumps({"type": "response.create", "model": self._model, **fields}))

    async def next(self) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(await self.connection.recv())
        return message

    async def answer(self) -> list[dict[str, Any]]:
        """The messages up to the terminal one."""
        messages = [await self.next()]
        while messages[-1]["type"] not in LAST:
            messages.append(await self.next())
        return messages

    async def turn(self, **fields: Any) -> list[dict[str, Any]]:
        """Ask, and read the whole answer."""
        await self.send(**fields)
        return await self.answer()

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """The response to a message."""
        *_, last = await self.turn(**fields)
        assert last["type"] == "response.completed", last
        response: dict[str, Any] = last["response"]
        return response

    async def refused(self, **fields: Any) -> dict[str, Any]:
        """The error with which a message is answered, with its status."""
        (only,) = await self.turn(**fields)
        assert only.keys() - {"headers", "stream_id"} == {"type", "status", "error"}
        return {"status": only["status"], **only["error"]}


@asynccontextmanager
async def talking(service: Service, *, model: str = "a", **options: Any) -> AsyncIterator[Talk]:
    """Connect to a service."""
    url = service.url.replace("http", "ws", 1) + options.pop("address", ADDRESS)
    async with connect(url, **options) as connection:
        yield Talk(connection, model)


def text_of(response: Mapping[str, Any]) -> str:
    """What a response says."""
    return "".join(part["text"] for item in response["output"] for part in item.get("content") or ())
