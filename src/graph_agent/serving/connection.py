"""One client's connection, with limits: connections that neither send nor read for too long are closed."""

import asyncio
import contextlib
import logging
import socket
import time
import weakref
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from graph_agent.serving.chunks import CHUNKS, Chunks
from graph_agent.settings import Settings

logger = logging.getLogger(__name__)

SEND_BUFFER = 131_072
"""Bytes that the kernel may buffer for a client (Linux doubles the number). By default it would buffer megabytes, and
the service would notice late that a client reads nothing."""

LINGER_SECONDS = 2.0
"""How long a client that still sends may take to read why its connection ends. What it sends is not looked at."""

WARN_SECONDS = 10.0
"""The shortest time between two log lines about refused connections."""

LONGEST_LINE, MOST_LINES = 8_000, 120
"""The longest line, in bytes, and the most lines of a WebSocket's handshake. The library that reads it allows a few
more."""

HEADERS_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 2\r\nx-should-retry: true\r\n"
    b"content-length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """The limits for clients of our own server."""

    most: int
    """Open connections."""

    read_seconds: float
    """From the first byte of a request to the end of its headers, and from an early answer to the end of a request that
    is still being sent."""

    write_seconds: float
    """How long a client may read nothing while data waits for it."""

    message_bytes: int = 8_388_608
    """The largest message over a WebSocket."""

    @classmethod
    def of(cls, settings: Settings) -> "ConnectionLimits":
        """The limits from the settings. Half of the file descriptors stay free for everything else."""
        return cls(
            most=min(settings.max_connections, _descriptors() // 2),
            read_seconds=settings.read_seconds,
            write_seconds=settings.write_seconds,
            message_bytes=settings.max_body_bytes,
        )


class ReaderWatch:
    """Disconnects a client that reads nothing while data waits for it."""

    __slots__ = ("_seconds", "_timer", "_transport", "_untaken")

    def __init__(self, transport: asyncio.Transport, *, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._untaken = 0

    def start(self) -> None:
        """Data waits for the client."""
        self._untaken = self._transport.get_write_buffer_size()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def stop(self) -> None:
        """The client has read everything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._untaken:
            self.start()
            return
        logger.warning("a client read nothing for %g s and was disconnected", self._seconds)
        # Not `close()`, which would wait for the client to read the rest.
        self._transport.abort()


class Connection(H11Protocol):
    """uvicorn's connection, with limits. The time for a body is limited where it is read (`limits.Bodies`)."""

    # With these besides uvicorn's, each connection would have a dictionary of 1.6 KB of its own.
    __slots__ = ("_limits", "_lingering", "_sending", "_watch", "own_transport")

    _refused_at = float("-inf")

    def __init__(self, *args: Any, limits: ConnectionLimits, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._sending: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._watch: ReaderWatch | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As the base class. A connection beyond the limit gets a 503 and is closed."""
        super().connection_made(transport)
        # uvicorn's `transport` is another object while an answer is written that ends in stages.
        self.own_transport = transport
        self._watch = ReaderWatch(transport, seconds=self._limits.write_seconds)
        # No buffer here: as soon as the kernel's buffer is full, `pause_writing` is called and the client is watched.
        transport.set_write_buffer_limits(high=0)
        peer = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        if len(self.connections) > self._limits.most:
            self._refuse()
        else:
            self._await_request()

    def data_received(self, data: bytes) -> None:
        """As the base class."""
        if self._lingering is not None or self.transport.is_closing():
            return
        # `cycle` is uvicorn's object for the current request. A new one means that the headers are complete.
        before = self.cycle
        if self._sending is None and (before is None or before.response_complete):
            self._await_request()
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()

    def handle_events(self) -> None:
        """As the base class. The task of a new request, which it makes, has not begun yet."""
        before = self.cycle
        super().handle_events()
        cycle = self.cycle
        if cycle is None or cycle is before:
            return
        scope: Any = cycle.scope
        # The answer to HEAD has the headers of a body, and none follows.
        if scope["http_version"] == "1.1" and scope["method"] != "HEAD":
            scope["extensions"] = {CHUNKS: Chunks(cycle)}
        if cycle.more_body:
            cycle.transport = _OfUnfinishedRequest(self)  # type: ignore[assignment]

    def send_400_response(self, msg: str) -> None:
        """As the base class, to a client that may still send what cannot be read, such as a header without an end."""
        self.transport = _OfUnfinishedRequest(self)  # type: ignore[assignment]
        try:
            super().send_400_response(msg)
        finally:
            self.transport = self.own_transport

    def close_in_stages(self) -> None:
        """End the connection behind what was written. A client that still sends gets the time to read that.

        If such a connection is closed at once, the system answers what comes with a reset, and clients drop what they
        have not read when that arrives.
        """
        transport = self.own_transport
        sends = self.conn.their_state in (h11.SEND_BODY, h11.ERROR) or (
            self.conn.their_state is h11.IDLE and self.conn.trailing_data[0] != b""
        )
        if not sends or self._lingering is not None or transport.is_closing() or not transport.can_write_eof():
            transport.close()
            return
        self._lingering = self.loop.call_later(LINGER_SECONDS, transport.close)
        transport.write_eof()
        if self.cycle is not None and not self.cycle.response_complete:
            # Nothing can be written any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # It may be paused, and then the client would never come to the end of its request.
        self.flow.resume_reading()
        self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """As the base class."""
        self._stop_waiting()
        if self._lingering is not None:
            self._lingering.cancel()
        if self._watch is not None:
            self._watch.stop()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read what was sent. From now on it is watched."""
        super().pause_writing()
        if self._watch is not None:
            self._watch.start()

    def resume_writing(self) -> None:
        """The client has read everything."""
        if self._watch is not None:
            self._watch.stop()
        super().resume_writing()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """As the base class. From now on, the connection has another protocol."""
        self._stop_waiting()
        # The parser of the WebSocket library would fail instead.
        lines = [len(event.target), *(len(name) + len(value) for name, value in self.headers)]
        if max(lines) > LONGEST_LINE or len(lines) > MOST_LINES:
            self.transport.write(HEADERS_TOO_LARGE)
            self.transport.close()
        else:
            super().handle_websocket_upgrade(event)

    def _await_request(self) -> None:
        self._sending = self.loop.call_later(self._limits.read_seconds, self._cut_sender)

    def _stop_waiting(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _cut_sender(self) -> None:
        self._sending = None
        if not self.transport.is_closing():
            # Only before the first request: later the client would take it for the answer to its next request.
            if self.cycle is None:
                self.transport.write(TOO_SLOW)
            self.close_in_stages()

    def _refuse(self) -> None:
        now = time.monotonic()
        # On the class: each refused connection is a new object.
        if now - Connection._refused_at > WARN_SECONDS:
            Connection._refused_at = now
            logger.warning("%d connections are open; new ones are refused", self._limits.most)
        self.transport.write(TOO_MANY)
        self.transport.close()


class _OfUnfinishedRequest:
    """The transport for an answer whose request had not arrived completely when it began."""

    def __init__(self, connection: Connection) -> None:
        # The connection has the answer: without a collector, neither would be freed.
        self._connection = weakref.ref(connection)
        self._transport = connection.own_transport
        self.write = connection.own_transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Close it when the client may have read the answer."""
        connection = self._connection()
        if connection is None:
            self._transport.close()
        else:
            connection.close_in_stages()


def raise_descriptors(wanted: int) -> None:
    """Raise the limit of open files and connections to `wanted`, as far as the system allows."""
    # Best effort: `resource` does not exist on Windows, and a container may forbid the change.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _descriptors() -> int:
    with contextlib.suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return soft
    return 1 << 20
