"""Writes messages to one WebSocket, and notices a client that reads nothing."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import Message, Send

from graph_agent.protocol.json_encoding import encode

logger = logging.getLogger(__name__)


class SocketWriter:
    """Sends text messages, one after the other. Several tasks may use it.

    `cut` is called when a message has waited for the client for `write_seconds`.
    """

    def __init__(self, send: Send, *, write_seconds: float, cut: Callable[[], None]) -> None:
        self._send = send
        self._write_seconds = write_seconds
        self._cut = cut
        self._writing = asyncio.Lock()
        self._since: float | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._ending: asyncio.TimerHandle | None = None
        self.closed = False

    def watch(self) -> None:
        """Begin to watch the client. Call `stop` in the end."""
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
        """Send one message."""
        await self.write([encode(message)])

    async def write(self, messages: Sequence[bytes]) -> None:
        """Send messages, each of them JSON in UTF-8."""
        async with self._writing:
            for one in messages:
                await self._sent({"type": "websocket.send", "text": one.decode()})

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection. Does nothing if it is closed."""
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
        await self._send(message)
        self._since = None
