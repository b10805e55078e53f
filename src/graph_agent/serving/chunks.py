"""Pieces of an answer's body that are written at once, past the tasks between an app and its connection."""

import asyncio
import weakref
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.types import Message, Scope, Send

if TYPE_CHECKING:
    # An app is also served by the servers of hosts.
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

CHUNKS = "graph_agent.chunks"
"""The extension in the scope of a request that has its `Chunks`."""

STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})
"""The messages with which an app begins an answer, or accepts a WebSocket."""


class StartsChanged:
    """A `send` for an app inside of a middleware that looks at how an answer begins, or changes that.

    The body goes on as it is. So pieces of it may be written past this object (`Chunks.past`). They are not written
    past any other `send` of a middleware, because nobody can tell what it does with them.
    """

    __slots__ = ("_change", "inner")

    def __init__(self, inner: Send, change: Callable[[Message], Message]) -> None:
        """`change` gets each message of `STARTS`, and returns the one that is sent in its place."""
        self.inner = inner
        self._change = change

    async def __call__(self, message: Message) -> None:
        if message["type"] in STARTS:
            message = self._change(message)
        await self.inner(message)


class Chunks:
    """Writes pieces of the body of one answer over HTTP/1.1, in the call that has them.

    To pass a piece on from function to function, and to wake the task that does it, takes as long as to write it to the
    socket.
    """

    __slots__ = ("_cycle", "_joined")

    def __init__(self, cycle: "RequestResponseCycle") -> None:
        # Its scope has this: without a collector, neither would be freed.
        self._cycle = weakref.ref(cycle)
        self._joined: _Joined | None = None

    def join(self) -> None:
        """Make one write of what is sent until `part`, at the longest until the event loop's next turn."""
        cycle = self._cycle()
        if self._joined is None and cycle is not None:
            untyped: Any = cycle
            self._joined = untyped.transport = _Joined(cycle.transport, self.part)
            asyncio.get_running_loop().call_soon(self.part)

    def part(self) -> None:
        """Write what was joined."""
        joined, self._joined = self._joined, None
        if joined is not None:
            if (cycle := self._cycle()) is not None:
                cycle.transport = joined.transport
            joined.flush()

    @classmethod
    def past(cls, scope: Scope, send: Send) -> "Chunks | None":
        """Those of the answer that an app sends with `send`. `None` if the server has none, or if something between the
        app and the server may change the body."""
        chunks = (scope.get("extensions") or {}).get(CHUNKS)
        return chunks if isinstance(chunks, cls) and chunks._is_behind(send) else None

    def write(self, body: bytes) -> bool:
        """Write a piece of a body whose length was not declared. Returns false if it cannot be written now: the app
        then sends it as usual, and waits."""
        cycle = self._cycle()
        if (
            not body
            or cycle is None
            or cycle.flow.write_paused
            or cycle.disconnected
            or not cycle.response_started
            or cycle.response_complete
        ):
            return False
        # As h11 writes it. Its state stays as it is while a body goes on.
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True

    def _is_behind(self, send: Any) -> bool:
        """Whether all that is sent with `send` reaches this answer, and its body unchanged."""
        cycle = self._cycle()
        while send is not None:
            if isinstance(send, MethodType):
                return cycle is not None and send == cycle.send
            send = _inner(send)
        return False


def _inner(send: Any) -> Any:
    """What a `send` passes each body on to, unchanged. `None` if that is not known."""
    # Exact types: a subclass, and a function that wraps one of these, may do more.
    if type(send) is StartsChanged:
        return send.inner
    if type(send) is partial:
        # Starlette's for pages of other sites, which adds headers.
        method = send.func
        is_cors = isinstance(method, MethodType) and method.__func__ is CORSMiddleware.send
        return send.keywords.get("send") if is_cors else None
    if type(send) is FunctionType and send.__code__ in _watchers():
        return send.__closure__[send.__code__.co_freevars.index("send")].cell_contents if send.__closure__ else None
    return None


@cache
def _watchers() -> frozenset[CodeType]:
    """The code of the two functions with which Starlette notes that an answer has begun, around each app and each
    route. They have no other name. A release that has changed them has none of these, and streams take longer."""
    try:
        # Late, because it is private.
        from starlette._exception_handler import wrap_app_handling_exceptions
    except ImportError:
        return frozenset()
    around = (ServerErrorMiddleware.__call__, wrap_app_handling_exceptions)
    found = (code for function in around for code in _nested(function.__code__))
    return frozenset(code for code in found if code.co_name in ("_send", "sender") and "send" in code.co_freevars)


def _nested(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _nested(one)


LAST = b"0\r\n\r\n"
"""What h11 writes behind the last piece. The answer is complete then, and another one may follow."""

MOST_JOINED = 16_384
"""Bytes that are joined. More of them are written as they come, each when the client has read enough of the others."""


class _Joined:
    """Stands for the transport of an answer while its writes are joined. Each write to a socket takes tens of
    microseconds, however short it is."""

    __slots__ = ("_kept", "_part", "_size", "transport")

    def __init__(self, transport: asyncio.Transport, part: Callable[[], None]) -> None:
        self.transport, self._part = transport, part
        self._kept: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._kept.append(data)
        self._size += len(data)
        if data == LAST or self._size > MOST_JOINED:
            self._part()

    def close(self) -> None:
        self._part()
        self.transport.close()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def flush(self) -> None:
        kept, self._kept = self._kept, []
        if kept and not self.transport.is_closing():
            self.transport.write(b"".join(kept))
