"""`FakeWorkspace`: answers the Databricks REST calls of agents from a script, on the loopback interface."""

import hashlib
import os
import secrets
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.testing.completions import ScriptedCompletion
from graph_agent.testing.errors import ScriptError
from graph_agent.testing.loopback import on_loopback
from graph_agent.testing.passages import PassageRoutes, Row, missing, refused
from graph_agent.testing.recording import SIGN_IN, Recording
from graph_agent.testing.script import Script

DIMENSION = 64
"""The length of an embedding."""

USER = "me@example.com"
TOKEN_SECONDS = 3600


class FakeWorkspace(Recording):
    """A Databricks workspace on a free port while the block runs. Real clients talk to it over a real socket.

        with FakeWorkspace("It is 8000. [1]", indexes={"main.docs.project": ["The port is 8000."]}) as workspace:
            for name, value in workspace.environment().items():
                monkeypatch.setenv(name, value)

    A serving endpoint exists under every name. A request for a chat completion, streamed or not, gets the next reply of
    the script, and a request with texts gets embeddings. Replies are those of `ScriptedChatModel`, except that a
    function gets the request's body, and a mapping among the pieces is sent unchanged as a chunk of a chat completion.
    `indexes` maps three-level names to passages: texts, or rows with `text` and other columns. `users` maps tokens to
    the names of their owners. `more` are Starlette routes that take precedence over those of the workspace.

    It records the requests, and can fail, stall or hang up on the next ones: see `Recording`. If the script is
    exhausted or wrong, the answer has status 400 and the error's message.
    """

    def __init__(
        self,
        *replies: Any,
        each_turn: bool = False,
        indexes: Mapping[str, Sequence[str | Row]] | None = None,
        users: Mapping[str, str] | None = None,
        more: Sequence[BaseRoute] = (),
    ) -> None:
        super().__init__()
        self.url = ""
        """The address of the workspace. It is empty before the block starts."""
        self.token = secrets.token_urlsafe(32)
        """A personal access token of the workspace's user."""
        self.client_id, self.client_secret = secrets.token_hex(16), secrets.token_urlsafe(32)
        """The service principal that agents run as."""
        self._script = Script(replies or ("Hello.",), each_turn=each_turn or not replies)
        self._indexes = indexes or {}
        self._users = {self.token: USER, **(users or {})}
        self._more = more
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.url = self._stack.enter_context(on_loopback(self.recorded(self._app())))
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    @property
    def chats(self) -> list[Mapping[str, Any]]:
        """The bodies of the chat completions requests so far, oldest first."""
        sent = [one.json for one in self.calls(r"^/serving-endpoints/")]
        return [body for body in sent if "messages" in body]

    def environment(self) -> dict[str, str]:
        """Return the variables that Databricks Apps sets for clients: the address and a service principal."""
        return {
            "DATABRICKS_HOST": self.url,
            "DATABRICKS_CLIENT_ID": self.client_id,
            "DATABRICKS_CLIENT_SECRET": self.client_secret,
            # Otherwise the SDK would read the profiles of the person who runs the tests.
            "DATABRICKS_CONFIG_FILE": os.devnull,
        }

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                *self._more,
                # The SDK asks for these three before its first request.
                Route("/.well-known/databricks-config", self._config),
                Route("/oidc/.well-known/oauth-authorization-server", self._discovery),
                Route("/oidc/v1/token", self._mint, methods=["POST"]),
                Route("/api/2.0/preview/scim/v2/Me", self._me),
                Route("/api/2.0/serving-endpoints/{name}", self._endpoint),
                Route("/serving-endpoints/chat/completions", self._chat, methods=["POST"]),
                Route("/serving-endpoints/{name}/invocations", self._invocations, methods=["POST"]),
                *PassageRoutes(self._indexes).routes(),
            ],
            middleware=[Middleware(_KnownTokens, tokens=self._users)],
            exception_handlers={ScriptError: _script_error, HTTPException: _no_such_api},
        )

    async def _config(self, request: Request) -> Response:
        return JSONResponse({"oidc_endpoint": f"{self.url}/oidc", "workspace_id": "1"})

    async def _discovery(self, request: Request) -> Response:
        oidc = f"{self.url}/oidc/v1"
        return JSONResponse({"authorization_endpoint": f"{oidc}/authorize", "token_endpoint": f"{oidc}/token"})

    async def _mint(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        presented = form.get("client_id"), form.get("client_secret")
        # Clients send the credentials in the form or as basic authentication.
        basic = _basic(self.client_id, self.client_secret)
        if presented != ([self.client_id], [self.client_secret]) and request.headers.get("authorization") != basic:
            return JSONResponse({"error": "invalid_client", "error_description": "Unknown id or secret."}, 401)
        token = secrets.token_urlsafe(32)
        self._users[token] = USER
        return JSONResponse({"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})

    async def _me(self, request: Request) -> Response:
        user = self._users[_bearer(request)]
        return JSONResponse({"id": "1", "userName": user, "displayName": user, "active": True})

    async def _endpoint(self, request: Request) -> Response:
        name = request.path_params["name"]
        state = {"ready": "READY", "config_update": "NOT_UPDATING"}
        return JSONResponse({"name": name, "id": name, "state": state, "task": "llm/v1/chat"})

    async def _chat(self, request: Request) -> ASGIApp:
        body = await request.json()
        if not isinstance(body, dict) or not body.get("messages"):
            return refused(400, "'messages' must be a list with at least one message.")
        return ScriptedCompletion(self._script, body)

    async def _invocations(self, request: Request) -> ASGIApp:
        body = await request.json()
        name = request.path_params["name"]
        if "messages" in body:
            return ScriptedCompletion(self._script, {"model": name, **body})
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list):
            return refused(400, "'input' must be a text or a list of texts.")
        data = [{"object": "embedding", "index": at, "embedding": embedding(text)} for at, text in enumerate(texts)]
        return JSONResponse({"object": "list", "model": name, "data": data})


def embedding(text: str) -> list[float]:
    """Return a vector of `DIMENSION` word counts, so that texts that share words are near each other."""
    vector = [0.0] * DIMENSION
    for word in text.lower().split():
        # Not `hash`, whose values for texts differ in each process.
        vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1.0
    length = sum(number * number for number in vector) ** 0.5 or 1.0
    return [number / length for number in vector]


class _KnownTokens:
    """Answers 401 to requests without a known token, except to those that sign in."""

    def __init__(self, app: ASGIApp, *, tokens: Mapping[str, str]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or SIGN_IN.search(scope["path"]) or _bearer(HTTPConnection(scope)) in self._tokens:
            await self._app(scope, receive, send)
        else:
            refusal = refused(401, "The token is missing or not the workspace's.", code="UNAUTHENTICATED")
            await refusal(scope, receive, send)


def _bearer(request: HTTPConnection) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


async def _script_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ScriptError)
    return refused(400, error.message)


async def _no_such_api(request: Request, error: Exception) -> Response:
    return missing(f"The API {request.method} {request.url.path} of a fake workspace")
