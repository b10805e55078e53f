"""Hands requests over to Databricks' chat app, which listens on loopback, and its answers back as they arrive."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from graph_agent.errors import ChatAppFailed, ChatAppUnavailable, InvalidRequest, RunCancelled
from graph_agent.foreign_errors import describe_error
from graph_agent.serving.chat_app import PORT, SECONDS, ChatApp
from graph_agent.serving.chat_tickets import is_ticket
from graph_agent.serving.identity import TOKEN
from graph_agent.serving.leaving import unless_left
from graph_agent.serving.limits import Bodies
from graph_agent.serving.mounting import path_of

logger = logging.getLogger(__name__)

HOSTS = ("127.0.0.1", "[::1]")
"""Where the chat app may listen. Node binds `localhost` to only one of them, which differs between machines."""

CONNECT_SECONDS = 5.0
"""A server on this machine accepts a connection immediately, or is overloaded."""

VIA = b"1.1 graph-agent"
"""Names this proxy, so that it notices a request that it has sent itself. Source: RFC 9110, section 7.6.3."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers about one connection only. Source: RFC 9110, section 7.6.1."""

NOT_FOR_THE_CHAT_APP = HOP_BY_HOP | {b"authorization", b"expect", b"host", b"via"}
"""`Authorization` is for this service or for the proxy of Databricks Apps. The chat app signs in by itself."""

TICKET = TOKEN.lower().encode()

OF_THE_SERVER = HOP_BY_HOP | {b"date", b"server"}
"""Headers of the chat app's answer that our own server writes."""

UNRESERVED = "/!$&'()*+,;=:@~"
"""Characters that a path may hold as they are. Source: RFC 3986, section 3.3."""

QUERY = "/!$&'()*+,;=:@~?%[]|\"<>{}^`\\"
"""Characters of a query that are passed on. It was written by the client, and stays as it is."""


class ChatProxy:
    """The ASGI app for addresses that are not the service's own.

    It uses the transport alone and no client: a client would keep the cookies of one user and send them for the next,
    follow redirects, and unpack compressed answers.
    """

    def __init__(
        self, chat: ChatApp, *, bodies: Bodies, connections: int, ticket: Callable[[Headers], str | None]
    ) -> None:
        """`ticket` says what a request carries for the chat app in place of its user's token."""
        self._chat = chat
        self._ticket = ticket
        self._bodies = bodies
        self._connections = connections
        self._transport: httpx.AsyncHTTPTransport | None = None
        seconds = chat.seconds
        self._timeouts = {
            "connect": min(seconds, CONNECT_SECONDS),
            "read": seconds,
            "write": seconds,
            "pool": CONNECT_SECONDS,
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Pass requests on until the block ends."""
        transport = httpx.AsyncHTTPTransport(
            # Never used, as every address is plain HTTP. The default reads all certificates.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # The proxies of the environment are for other hosts.
            trust_env=False,
            # No connection is kept. The chat app may close one at the moment when the next request is sent on it.
            limits=httpx.Limits(max_connections=self._connections, max_keepalive_connections=0),
        )
        async with transport:
            self._transport = transport
            try:
                yield
            finally:
                self._transport = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            HTTPException: 404; the chat app does not get this path.
            ChatAppUnavailable: nothing listens there, or it accepts no more connections.
            ChatAppFailed: it broke off, or stayed silent for too long, before its answer began.
            InvalidRequest: the address is too long. The errors of `Bodies.passed` are raised too.
            Unauthenticated: the request names two users.
        """
        request = Request(scope, receive)
        path = self._chat.path_of(path_of(scope))
        if path is None or scope["type"] != "http" or "websocket" in request.headers.get("upgrade", "").lower():
            raise HTTPException(404)
        if VIA in (one.strip() for value in _all(scope["headers"], b"via") for one in value.split(b",")):
            raise ChatAppFailed(f"{PORT} is the port of this service; set the port of the chat app")
        passed = asyncio.Event()

        async def receive_after_body() -> Message:
            # Only one reader at a time: the body is read first.
            await passed.wait()
            return await receive()

        try:
            await unless_left(
                self._exchange(request, path, send, passed),
                receive_after_body,
                message="the caller left before the chat app had answered",
            )
        except RunCancelled:
            return

    async def _exchange(self, request: Request, path: str, send: Send, passed: asyncio.Event) -> None:
        body = None
        if "content-length" in request.headers or "transfer-encoding" in request.headers:
            body = _marking(self._bodies.passed(request), passed)
        else:
            passed.set()
        response = await self._answer(request, path, body)
        try:
            headers = _without(OF_THE_SERVER, response.headers.raw)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.HTTPError as error:
            # The answer gets no end, so the server closes the connection and the client notices.
            logger.warning("the chat app broke off its answer: %s", describe_error(error))
            return
        finally:
            await response.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _answer(self, request: Request, path: str, body: AsyncIterator[bytes] | None) -> httpx.Response:
        assert self._transport is not None, "the lifespan has not begun"
        where = f"the chat app at port {self._chat.port} of this machine ({PORT})"
        for host in HOSTS:
            try:
                response = await self._transport.handle_async_request(self._request(host, request, path, body))
            except httpx.ConnectError:
                continue
            except (httpx.ConnectTimeout, httpx.PoolTimeout):
                raise ChatAppUnavailable(f"{where} accepts no more connections; try again shortly") from None
            except httpx.TimeoutException:
                message = f"{where} was silent for {self._chat.seconds:g} s; look at its log, or raise {SECONDS}"
                raise ChatAppFailed(message) from None
            except httpx.HTTPError as error:
                logger.warning("the chat app broke off: %s", describe_error(error))
                raise ChatAppFailed(f"{where} broke off before it answered; look at its log") from None
            if response.status_code < 200:
                await response.aclose()
                raise ChatAppFailed(f"{where} wants to speak another protocol; it must answer HTTP requests")
            return response
        raise ChatAppUnavailable(f"{where} does not answer; start it, or unset {PORT}")

    def _request(self, host: str, request: Request, path: str, body: AsyncIterator[bytes] | None) -> httpx.Request:
        target = quote(path, safe=UNRESERVED)
        if request.scope["query_string"]:
            target = f"{target}?{quote(request.scope['query_string'], safe=QUERY)}"
        headers = _with_ticket(_without(NOT_FOR_THE_CHAT_APP, request.headers.raw), self._ticket(request.headers))
        if "transfer-encoding" in request.headers:
            headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        try:
            return httpx.Request(
                request.method,
                httpx.URL(f"http://{host}:{self._chat.port}", raw_path=target.encode("ascii")),
                headers=[*headers, (b"host", b"localhost:%d" % self._chat.port), (b"via", VIA)],
                content=body,
                extensions={"timeout": self._timeouts},
            )
        except httpx.InvalidURL:
            raise InvalidRequest("the address is too long for the chat app; send a shorter query") from None


async def _marking(body: AsyncIterator[bytes], passed: asyncio.Event) -> AsyncIterator[bytes]:
    """The body. `passed` is set at its end."""
    async for chunk in body:
        yield chunk
    passed.set()


def _with_ticket(headers: list[tuple[bytes, bytes]], ticket: str | None) -> list[tuple[bytes, bytes]]:
    """The headers with this ticket. One that the request brings along may be somebody else's, and is not passed on."""
    if ticket is None:
        return [(name, value) for name, value in headers if name.lower() != TICKET or not _is_ticket(value)]
    return [*((name, value) for name, value in headers if name.lower() != TICKET), (TICKET, ticket.encode("ascii"))]


def _is_ticket(value: bytes) -> bool:
    return is_ticket(value.decode("latin-1").strip())


def _without(names: frozenset[bytes], headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without these, and without those that `Connection` names."""
    headers = list(headers)
    named = {one.strip().lower() for value in _all(headers, b"connection") for one in value.split(b",")}
    # A caller must not be able to remove the user that the platform has set, or the length of the body.
    named = {one for one in named if not one.startswith((b"x-forwarded-", b"content-"))}
    return [(name, value) for name, value in headers if name.lower() not in names | named]


def _all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]
