"""One client's WebSocket at our own server, with limits for what uvicorn leaves unbounded."""

import asyncio
import logging
import sys
import time
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State

from graph_agent.foreign_errors import describe_error
from graph_agent.serving.connection import ConnectionLimits, ReaderWatch
from graph_agent.serving.limits import BYTES_A_SECOND, MOST_BODIES
from graph_agent.serving.socket_writer import TOGETHER
from graph_agent.serving.sse import LATE_READER_SECONDS

MOST_FRAGMENTS = 4096
"""Frames of one message. A client could send any number of empty ones."""


class _OnlyWarnings(logging.LoggerAdapter[logging.Logger]):
    """In place of uvicorn's logger: below warnings, it is told the addresses of WebSockets with their query. Of an
    exception it writes the type and the place, because its message may quote what was sent."""

    level = logging.WARNING

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        error = sys.exc_info()[1] if kwargs.pop("exc_info", None) else None
        return msg if error is None else f"{str(msg).strip()} {describe_error(error)}", kwargs

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.level and super().isEnabledFor(level)


class SocketConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, with limits for messages that are not complete, for slow readers, and for pings.

    A message must arrive as fast as the body of a request, and what has arrived of all of them counts together. A
    client that reads nothing is disconnected. Meanwhile it gets no pongs, and later one for all of its pings.
    """

    _in_all = 0
    """The bytes of incomplete messages of all connections of the process."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = self.conn.logger = _OnlyWarnings(logging.getLogger(__name__), {})  # type: ignore[assignment]
        # Otherwise it logs what is sent and received, if somebody sets the level of uvicorn's logger.
        self.conn.debug = False
        self._limits = limits
        self._incomplete = 0
        self._is_complete = False
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._watch: ReaderWatch | None = None
        self._lingers: asyncio.TimerHandle | None = None
        self._pong = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the base class."""
        super().connection_made(transport)
        self._watch = ReaderWatch(transport, seconds=self._limits.write_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """As the base class."""
        self._stop_waiting()
        self._count(0)
        self._stop_watching()
        super().connection_lost(exc)

    # -- what the client sends ----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """As the base class."""
        self._is_complete = False
        super().data_received(data)
        if self._is_complete:
            self._stop_waiting()
        begun, waiting = self.conn.current_size, len(self.conn.reader.buffer)
        self._count((begun or 0) + waiting)
        if self.transport.is_closing() or (begun is None and not waiting):
            self._stop_waiting()
        elif SocketConnection._in_all > MOST_BODIES * self._limits.message_bytes:
            self._refuse(CloseCode.TRY_AGAIN_LATER, "too many messages are being sent")
        elif self._timer is None:
            self._began = time.monotonic()
            self._timer = self.loop.call_later(self._limits.read_seconds, self._look)

    def send_receive_event_to_app(self) -> None:
        """As the base class: a message is complete."""
        self._is_complete = True
        super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        """As the base class."""
        super().handle_cont(event)
        if len(self.frames) > MOST_FRAGMENTS:
            self._refuse(CloseCode.POLICY_VIOLATION, "the message has too many frames")

    def handle_pong(self, event: Frame) -> None:
        """As the base class."""
        self._has_control_frame()
        super().handle_pong(event)

    def _has_control_frame(self) -> None:
        # What waits now is the beginning of another frame. Between the frames of a message, it changes nothing.
        if self.conn.current_size is None:
            self._is_complete = True

    def _count(self, size: int) -> None:
        SocketConnection._in_all += size - self._incomplete
        self._incomplete = size

    def _look(self) -> None:
        # A large message over a slow line is fine as long as it makes progress.
        left = self._began + self._limits.read_seconds + self._incomplete / BYTES_A_SECOND - time.monotonic()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
        else:
            self._refuse(CloseCode.POLICY_VIOLATION, "the message did not arrive in time")

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, code: CloseCode, reason: str) -> None:
        """Close the connection, because what its client sends breaks a limit."""
        self._stop_waiting()
        if self.transport.is_closing() or self.close_sent:
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()

    # -- what the client reads ----------------------------------------------------------------------------------

    def handle_connect(self, event: Request) -> None:
        """As the base class. The app learns that several messages may be sent at once."""
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            # The task of the app has not begun yet.
            self.scope["extensions"][TOGETHER] = {}

    async def send(self, message: Any) -> None:
        """As the base class, and text messages together: `{"type": TOGETHER, "texts": […]}`."""
        if message["type"] != TOGETHER:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not State.OPEN:
            raise ClientDisconnected
        for text in message["texts"]:
            self.conn.send_text(text)
        # One write to the socket for each message takes longer than everything else that is done for it.
        self.transport.write(b"".join(self.conn.data_to_send()))

    def pause_writing(self) -> None:
        """The client does not read what was sent. From now on it is watched."""
        super().pause_writing()
        if self._watch is not None:
            self._watch.start()
        # A message is written as a whole, and may have megabytes, which nobody shall take for hours.
        self._lingers = self.loop.call_later(LATE_READER_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read everything."""
        self._stop_watching()
        super().resume_writing()
        if self._pong and not self.transport.is_closing():
            pong, self._pong = self._pong, b""
            self.transport.write(pong)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        if self._lingers is not None:
            self._lingers.cancel()
            self._lingers = None

    def handle_ping(self) -> None:
        """As the base class, but nothing piles up for a client that does not read: by RFC 6455, 5.5.3, the pong for the
        latest ping is enough."""
        self._has_control_frame()
        pong = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(pong)
        elif pong:
            self._pong = pong
