"""A load client with little overhead: HTTP/1.1 and WebSocket over plain sockets. It counts frames and never parses
what is in them."""

import asyncio
import itertools
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

QUESTION = {"input": [{"role": "user", "content": "What is a bench?"}], "stream": True}
# None of the other servers stores anything.
BODY = json.dumps({**QUESTION, "store": False}).encode()
MESSAGE = json.dumps({"type": "response.create", "input": QUESTION["input"], "store": True}).encode()
STORED_BODY = json.dumps({**QUESTION, "store": True}).encode()
TOKENS = 200
"""Tokens of a complete stream, as in `bench.scripted`. That module is too heavy to import in the client."""

NEW_ID = "{new id}"
"""Where the path of a target has an id of its own in each request."""

STREAM_SECONDS = 120.0
"""The longest wait for one stream."""

_GOOD = b"HTTP/1.1 200"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_ALONE = b"0\r\n\r\n"
"""The same, if it arrives apart from the chunk before it."""


class StreamBroken(Exception):
    """A server answered with something that is not a complete stream."""


@dataclass(frozen=True, slots=True)
class Target:
    """The address for requests, and how the server marks a token."""

    port: int
    path: str
    token: bytes
    """Bytes that occur once in the frame of each token, and in no other frame."""

    body: bytes = BODY

    tokens: int | None = TOKENS
    """How often that is in a complete stream. `None`: it is not known."""

    keyed: bool = False
    """Whether each request has an `Idempotency-Key` of its own."""

    separator: bytes = b"\n\n"
    """What ends a frame."""

    socket: bool = False
    """Whether `body` is a message over a WebSocket, and its stream comes in messages."""


@dataclass(slots=True)
class Stream:
    """The measurements of one stream. Times are seconds since the request was written."""

    frames: int = 0
    tokens: int = 0
    first_frame: float = 0.0
    first_token: float = 0.0
    seconds: float = 0.0
    """Until the end of the stream."""

    gaps: list[float] = field(default_factory=list)
    """The seconds between two reads that had tokens, if they are kept."""


@dataclass(frozen=True, slots=True)
class Load:
    """The measurements of many concurrent streams."""

    streams: int
    frames: int
    tokens: int
    seconds: float


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one stream at a time.

    A bare protocol has less overhead than asyncio's streams, and the client shares the CPU with the servers.
    """

    _frame = b"data: "
    """Bytes that occur once in each frame."""

    def __init__(self, target: Target, *, within: float = STREAM_SECONDS, keeps_gaps: bool = False) -> None:
        self._token, self._tokens, self._separator = target.token, target.tokens, target.separator
        self._within, self._keeps_gaps, self._last_token = within, keeps_gaps, 0.0
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._is_answered = False
        self._stream = Stream()
        self._ended: asyncio.Future[None] | None = None
        self._started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was closed during a stream")

    def data_received(self, data: bytes) -> None:
        rest = self._rest + data
        if not self._is_answered:
            if not rest.startswith(_GOOD[: len(rest)]):
                self._fail(f"not a stream: {rest[:300]!r}")
                return
            self._is_answered = len(rest) >= len(_GOOD)
        # Before the cut, because the separator may be the end of the last chunk, too.
        is_last = rest.endswith(_LAST_CHUNK) or rest == _ALONE
        # A frame may be split anywhere. The part after the last complete frame waits for the next data.
        end = rest.rfind(self._separator)
        if end >= 0:
            cut = end + len(self._separator)
            self._count(rest[:cut])
            rest = rest[cut:]
        self._rest = rest
        if is_last and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def run(self, request: bytes) -> Stream:
        """Send the request and read its stream to the end.

        Raises:
            StreamBroken: the status is not 200, tokens are missing, or the stream takes too long.
        """
        assert self._transport is not None
        self._rest, self._stream, self._is_answered = b"", Stream(), False
        self._ended = asyncio.get_running_loop().create_future()
        self._started = time.perf_counter()
        self._transport.write(request)
        try:
            async with asyncio.timeout(self._within):
                await self._ended
        except TimeoutError:
            raise StreamBroken(f"a stream took longer than {self._within:.0f} s") from None
        self._stream.seconds = time.perf_counter() - self._started
        if self._tokens is not None and self._stream.tokens != self._tokens:
            raise StreamBroken(f"a stream had {self._stream.tokens} tokens, not {self._tokens}")
        return self._stream

    def close(self) -> None:
        self._ended = None
        if self._transport is not None:
            self._transport.close()

    def _count(self, whole: bytes) -> None:
        stream, since = self._stream, time.perf_counter() - self._started
        stream.frames += whole.count(self._frame) if self._frame else 0
        tokens = whole.count(self._token)
        stream.tokens += tokens
        stream.first_frame = stream.first_frame or since
        if stream.tokens:
            stream.first_token = stream.first_token or since
        if tokens and self._keeps_gaps:
            if stream.tokens > tokens:
                stream.gaps.append(since - self._last_token)
            self._last_token = since

    def _fail(self, why: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(StreamBroken(why))


class _Socket(_Connection):
    """One WebSocket with one stream at a time."""

    _frame = b""

    def __init__(self, target: Target, *, within: float = STREAM_SECONDS, keeps_gaps: bool = False) -> None:
        super().__init__(target, within=within, keeps_gaps=keeps_gaps)
        self._target = target
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self._transport is not None
        self._transport.write(
            f"GET {self._target.path} HTTP/1.1\r\nHost: 127.0.0.1:{self._target.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.opened.done():
            self.opened.set_exception(StreamBroken("the handshake was not answered"))

    def data_received(self, data: bytes) -> None:
        rest = self._rest + data
        if not self.opened.done():
            head, end, rest = rest.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(StreamBroken(f"no WebSocket: {head[:300]!r}"))
                return
            self.opened.set_result(None)
        at, begun, last = 0, 0, b""
        while (end_of_frame := _end_of_frame(rest, at)) is not None:
            begun, at = end_of_frame
            self._stream.frames += 1
            last = rest[begun : begun + len(_TERMINAL)]
        self._count(rest[:at])
        self._rest = rest[at:]
        if last == _TERMINAL and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


_TERMINAL = b'{"type":"response.completed"'


def _end_of_frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the content of the frame begins and ends, or `None` if it is not complete."""
    if len(data) < at + 2:
        return None
    size, begins = data[at + 1], at + 2
    if size > 125:
        begins = at + (4 if size == 126 else 10)
        size = int.from_bytes(data[at + 2 : begins])
    return None if len(data) < begins + size else (begins, begins + size)


def _message(target: Target) -> bytes:
    """The frame of a message, whose mask changes nothing."""
    size = len(target.body)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    return b"\x81" + length + bytes(4) + target.body


def _request(target: Target) -> bytes:
    if target.socket:
        return _message(target)
    key = f"Idempotency-Key: {uuid.uuid4().hex}\r\n" if target.keyed else ""
    head = (
        f"POST {target.path.replace(NEW_ID, str(uuid.uuid4()))} HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n{key}"
        f"Content-Type: application/json\r\nContent-Length: {len(target.body)}\r\n\r\n"
    )
    return head.encode() + target.body


async def _connect(target: Target, *, within: float = STREAM_SECONDS, keeps_gaps: bool = False) -> _Connection:
    loop = asyncio.get_running_loop()
    kind = _Socket if target.socket else _Connection
    _, connection = await loop.create_connection(
        lambda: kind(target, within=within, keeps_gaps=keeps_gaps), "127.0.0.1", target.port
    )
    if isinstance(connection, _Socket):
        await connection.opened
    return connection


async def singly(target: Target, *, streams: int) -> list[Stream]:
    """Run streams one after the other on one connection."""
    connection = await _connect(target)
    try:
        return [await connection.run(_request(target)) for _ in range(streams)]
    finally:
        connection.close()


async def at_once(target: Target, *, streams: int, seconds: float, least: int = 1) -> Load:
    """Keep `streams` streams open for `seconds`, and until each connection has had `least`. No stream is cut off."""
    connections = [await _connect(target) for _ in range(streams)]
    started = time.perf_counter()
    done: list[Stream] = []

    async def keep_busy(connection: _Connection) -> None:
        for number in itertools.count(1):
            done.append(await connection.run(_request(target)))
            if number >= least and time.perf_counter() - started >= seconds:
                return

    try:
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(keep_busy(connection))
    except* StreamBroken as broken:
        raise broken.exceptions[0] from None
    finally:
        for connection in connections:
            connection.close()
    return Load(
        streams=len(done),
        frames=sum(stream.frames for stream in done),
        tokens=sum(stream.tokens for stream in done),
        seconds=time.perf_counter() - started,
    )


async def together(target: Target, *, streams: int, within: float) -> Sequence[Stream]:
    """Start one stream on each of `streams` connections at the same time, and read all of them to their ends. Their
    gaps are kept."""
    connections = [await _connect(target, within=within, keeps_gaps=True) for _ in range(streams)]
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(connection.run(_request(target))) for connection in connections]
    except* StreamBroken as broken:
        raise broken.exceptions[0] from None
    finally:
        for connection in connections:
            connection.close()
    return [one.result() for one in running]
