"""One log line for each request, and the id that all lines of the request carry."""

import logging
import re
import time
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_agent.errors import TooManyCredentials
from graph_agent.redaction import redact, with_hidden_values
from graph_agent.runs.log_context import Facts, add_log_facts, within_log_facts
from graph_agent.serving.chunks import StartsChanged
from graph_agent.serving.handshakes import refusal
from graph_agent.serving.mounting import path_of
from graph_agent.serving.secret_cookies import secret_cookies

logger = logging.getLogger(__name__)

PROBES = frozenset({"/health", "/ready", "/metrics", "/api/metrics"})
"""Monitoring asks for these every few seconds, so their lines have level DEBUG."""

CREDENTIALS = frozenset({b"authorization", b"x-forwarded-access-token", b"cookie", b"proxy-authorization"})

SHORTEST_CREDENTIAL = 16
"""Characters. Where no token is required, clients send words such as `anything`, which answers may contain."""

MOST_CREDENTIALS, MOST_CREDENTIAL_CHARACTERS = 64, 65_536
"""Limits for one request. Every text of the answer is searched for each credential. More of them would slow down other
requests too, and a credential that is not searched for could be shown."""

MOST_PATH = 200
"""Characters of a path that are logged. The query is never logged."""

SWITCHED = 101
"""The status of a WebSocket that was accepted."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


TOO_MANY = (
    f"the headers hold more than {MOST_CREDENTIALS} values that look like secrets, or {MOST_CREDENTIAL_CHARACTERS} "
    "characters of them; send fewer cookies"
)


class RequestLog:
    """ASGI middleware: logs each request, and each WebSocket when it has ended, and gives it an id.

    A well-formed `X-Request-Id` is kept and sent back. Otherwise the response's id is the request's id. Credentials
    from the request's headers are redacted in everything that the request writes.
    """

    def __init__(self, app: ASGIApp, *, failed: Callable[[str], None] | None = None) -> None:
        """`failed` is called with the code of each error with which a request is answered."""
        self._app = app
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        app, credentials = self._app, _credentials(scope["headers"])
        if len(credentials) > MOST_CREDENTIALS or sum(map(len, credentials)) > MOST_CREDENTIAL_CHARACTERS:
            app, credentials = refusal(TooManyCredentials(TOO_MANY)), []
        facts: Facts = {}
        with within_log_facts(facts), with_hidden_values(credentials):
            given = _given_id(scope["headers"])
            if given is not None:
                add_log_facts(request_id=given)

            def answered(start: Message) -> Message:
                facts["status"] = start.get("status", SWITCHED)
                return {**start, "headers": _named(start.get("headers", ()), facts, given)}

            # In `finally`: a request that ends with an exception or without an answer gets its line too.
            try:
                await app(scope, receive, StartsChanged(send, answered))
            finally:
                _log(scope, facts, time.monotonic() - began)
                if self._failed is not None and (code := facts.get("code")) is not None:
                    self._failed(code)


def _log(scope: Scope, facts: Facts, seconds: float) -> None:
    level = logging.DEBUG if path_of(scope) in PROBES else logging.INFO
    # The handshake of a WebSocket is a GET.
    log_request(scope.get("method", "GET"), scope["path"], facts, seconds, level=level)


def log_request(method: str, path: str, facts: Facts, seconds: float, *, level: int = logging.INFO) -> None:
    """Log the line of a request, or of a message over a WebSocket, whose kind is the `method`."""
    path, status = path[:MOST_PATH], facts.get("status", 499)
    fields = {
        **{name: value for name, value in facts.items() if value is not None},
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
    }
    words = "%s %s %d in %d ms"
    logger.log(level, words, method, path, status, round(seconds * 1000), extra={"fields": fields})


def _named(headers: Iterable[tuple[bytes, bytes]], facts: Facts, given: str | None) -> list[tuple[bytes, bytes]]:
    """The headers of the answer, with the request's id."""
    kept = list(headers)
    own = next((value.decode("latin-1") for name, value in kept if name.lower() == b"x-request-id"), None)
    if given is None:
        if own is not None:
            facts["request_id"] = own
        return kept
    kept = [(name, value) for name, value in kept if name.lower() != b"x-request-id"]
    return [*kept, (b"x-request-id", given.encode("latin-1"))]


def _given_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The id that the client or a proxy gave the request, or `None` if it is malformed or looks like a secret.

    The id is logged and sent back, so it must not be able to carry anything else.
    """
    for name, value in headers:
        if name == b"x-request-id":
            # Latin-1 decodes any bytes, as HTTP headers require.
            text = value.decode("latin-1")
            return text if _ID.fullmatch(text) and redact(text) == text else None
    return None


def _credentials(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    found: list[str] = []
    for name, value in headers:
        text = value.decode("latin-1")
        if name == b"cookie":
            found += secret_cookies(text)
        elif name in CREDENTIALS:
            # Without the scheme, such as `Bearer`.
            found.append(text.rpartition(" ")[2])
    return list(dict.fromkeys(one for one in found if len(one) >= SHORTEST_CREDENTIAL))
