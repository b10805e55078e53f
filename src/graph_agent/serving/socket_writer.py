"""Writes messages to one WebSocket, and notices a client that reads nothing."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import Message, Send

from graph_agent.protocol.json_encoding import encode

logger = logging.getLogger(__name__)

TOGETHER = "graph_agent.websocket.send_together"
"""An extension of ASGI that our own server has: text messages, as bytes in UTF-8, that are written to the socket at
once."""

MOST_TOGETHER = 65_536
"""The most bytes, without the last message, that are written at once. Small writes distinguish a slow client, which
finishes some, from one that reads nothing."""


class ClientLeft(Exception):
    """The connection is gone."""


class SocketWriter:
    """Sends text messages, one after the other. Several tasks may use it.

    `cut` is called when a message has waited for the client for `write_seconds`. `together` says that the server is our
    own: it has the extension of that name, and watches its clients itself, by the bytes that they read.
    """

    def __init__(self, send: Send, *, together: bool, write_seconds: float, cut: Callable[[], None]) -> None:
        self._send = send
        self._together = together
        self._write_seconds = write_seconds
        self._cut = cut
        self._writing = asyncio.Lock()
        self._since: float | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self.closed = False

    def watch(self) -> None:
        """Begin to watch the client. Call `stop` in the end."""
        if self._together:
            return
        # One timer for all messages: a timeout around each would take longer than most of them.
        now, since = time.monotonic(), self._since
        if since is not None and now - since >= self._write_seconds:
            logger.warning("a client read nothing for %g s and was disconnected", self._write_seconds)
            self._cut()
            return
        remaining = self._write_seconds if since is None else since + self._write_seconds - now
        self._watching = asyncio.get_running_loop().call_later(remaining, self.watch)

    def end_within(self, seconds: float | None) -> None:
        """Disconnect the client if it has not read everything within this time from now. `None`: it has."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._cut)

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send one message.

        Raises:
            ClientLeft: the connection is gone.
        """
        await self.write([encode(message)])

    async def write(self, messages: Sequence[bytes]) -> None:
        """Send messages, each of them JSON in UTF-8. Raises as `say` does."""
        async with self._writing:
            if not self._together:
                for one in messages:
                    await self._sent({"type": "websocket.send", "text": one.decode()})
                return
            texts, size = [], 0
            for one in messages:
                texts.append(one)
                size += len(one)
                if size > MOST_TOGETHER:
                    await self._sent({"type": TOGETHER, "texts": texts})
                    texts, size = [], 0
            if texts:
                await self._sent({"type": TOGETHER, "texts": texts})

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection. Does nothing if it is closed. Raises as `say` does."""
        async with self._writing:
            if not self.closed:
                self.closed = True
                await self._sent({"type": "websocket.close", "code": code, "reason": reason})

    def stop(self) -> None:
        """Watch the client no longer."""
        self.closed = True
        for timer in (self._watching, self._ending):
            if timer is not None:
                timer.cancel()

    async def _sent(self, message: Message) -> None:
        self._since = time.monotonic()
        try:
            await self._send(message)
        except OSError:
            # What the ASGI specification has for a client that has left.
            raise ClientLeft from None
        self._since = None
