"""The local workspace: the Databricks REST routes that the real clients call, with a local model and local indexes.

`ChatDatabricks`, `DatabricksEmbeddings`, `VectorSearchRetrieverTool` and `WorkspaceClient` work with it unchanged,
with a token or as a service principal. Bind it to loopback only.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.rest.access import Access, Credentials, OwnHosts, RequireToken
from graph_agent.local.rest.chat_routes import ChatAnswer, ChatBackend, TokenCounter, check_chat
from graph_agent.local.rest.functions import FunctionServer
from graph_agent.local.rest.http import (
    ApiError,
    ErrorLayer,
    bad_request,
    json_object,
    json_response,
    no_such_api,
    not_found,
    texts,
)
from graph_agent.local.rest.index_routes import IndexRoutes

CHAT_ENDPOINT = "local-model"
EMBEDDING_ENDPOINT = "local-minilm"
MOST_TEXTS = 256
"""Most texts in one embeddings request. The Databricks client sends 20."""


def create_workspace(
    backend: ChatBackend,
    indexes: Mapping[str, Index],
    *,
    embedder: Embedder,
    credentials: Credentials,
    user: str = "me@localhost",
    users: Mapping[str, str] | None = None,
    more: Sequence[BaseRoute] = (),
) -> Starlette:
    """The ASGI app. The keys of `indexes` are three-level names such as `main.docs.project`.

    Every route except sign-in needs the token of `credentials`, a token minted for their client id and secret, or one
    of `users`, which maps tokens to user names. `more` has additional routes, which are matched first.
    """
    access = Access(credentials, users=users)
    serving = ServingRoutes(backend, embedder, access, user=user)
    search = IndexRoutes(indexes, embedding_endpoint=EMBEDDING_ENDPOINT, user=user)
    return Starlette(
        routes=[*more, *access.routes(), *serving.routes(), *search.routes(), FunctionServer().route()],
        # In this order: errors of the inner layers become answers, and web pages are refused before tokens are checked.
        middleware=[Middleware(ErrorLayer), Middleware(OwnHosts), Middleware(RequireToken, access=access)],
        exception_handlers={HTTPException: unknown_route},
    )


class ServingRoutes:
    """Routes for the two serving endpoints, chat and embeddings, and for the identity of the caller."""

    def __init__(self, backend: ChatBackend, embedder: Embedder, access: Access, *, user: str) -> None:
        self._backend = backend
        self._embedder = embedder
        self._access = access
        self._user = user

    def routes(self) -> list[Route]:
        return [
            Route("/api/2.0/preview/scim/v2/Me", self._me),
            Route("/api/2.0/serving-endpoints", self._endpoints),
            Route("/api/2.0/serving-endpoints/{name}", self._endpoint),
            Route("/serving-endpoints/chat/completions", self._completions, methods=["POST"]),
            Route("/serving-endpoints/{name}/invocations", self._invocations, methods=["POST"]),
            # Of this workspace alone: Databricks has no such route.
            Route("/serving-endpoints/{name}/tokens", self._tokens, methods=["POST"]),
        ]

    async def _me(self, request: Request) -> Response:
        named = self._access.user(request.headers.get("authorization", ""))
        user = named or self._user
        # Workspaces number their users. The same name must have the same number in every run.
        number = "1" if named is None else str(int.from_bytes(hashlib.sha256(named.encode()).digest()[:6]))
        return json_response({"id": number, "userName": user, "displayName": user, "active": True})

    async def _endpoints(self, request: Request) -> Response:
        return json_response({"endpoints": [described(name) for name in TASKS]})

    async def _endpoint(self, request: Request) -> Response:
        return json_response(described(known_endpoint(request.path_params["name"])))

    async def _completions(self, request: Request) -> ASGIApp:
        body = await json_object(request)
        return self._chat(body.get("model"), body)

    async def _invocations(self, request: Request) -> ASGIApp:
        body = await json_object(request)
        if known_endpoint(request.path_params["name"]) == CHAT_ENDPOINT:
            return self._chat(CHAT_ENDPOINT, body)
        return json_response(await self._embeddings(body))

    async def _tokens(self, request: Request) -> Response:
        body = await json_object(request)
        name = known_endpoint(request.path_params["name"])
        if name != CHAT_ENDPOINT or not isinstance(self._backend, TokenCounter):
            raise bad_request(f"'{name}' does not count tokens.")
        check_chat(body)
        return json_response({"input_tokens": await self._backend.count_tokens(body)})

    def _chat(self, model: Any, body: dict[str, Any]) -> ASGIApp:
        if not isinstance(model, str):
            raise bad_request("'model' must name a serving endpoint.")
        if known_endpoint(model) != CHAT_ENDPOINT:
            raise bad_request(f"'{model}' is not a chat endpoint; use '{CHAT_ENDPOINT}'.")
        check_chat(body)
        return ChatAnswer(self._backend, {**body, "model": model})

    async def _embeddings(self, body: dict[str, Any]) -> dict[str, Any]:
        given = texts({"input": [body["input"]]} if isinstance(body.get("input"), str) else body, "input")
        if len(given) > MOST_TEXTS:
            raise bad_request(f"'input' must have at most {MOST_TEXTS} texts.")
        vectors = await asyncio.to_thread(self._embedder.embed, given)
        data = [
            {"object": "embedding", "index": position, "embedding": vector.tolist()}
            for position, vector in enumerate(vectors)
        ]
        return {"object": "list", "model": EMBEDDING_ENDPOINT, "data": data}


TASKS: Mapping[str, str] = {CHAT_ENDPOINT: "llm/v1/chat", EMBEDDING_ENDPOINT: "llm/v1/embeddings"}


def known_endpoint(name: str) -> str:
    if name not in TASKS:
        raise not_found("Serving endpoint", name)
    return name


def described(name: str) -> dict[str, Any]:
    state = {"ready": "READY", "config_update": "NOT_UPDATING"}
    return {"name": name, "id": name, "route_optimized": False, "state": state, "task": TASKS[name]}


async def unknown_route(request: Request, error: Exception) -> Response:
    """Answer 404 and 405 the same way, as Databricks does: it has no API for this method and path."""
    if isinstance(error, HTTPException) and error.status_code not in (404, 405):
        return ApiError(error.status_code, error.detail).response()
    return no_such_api(request.method, request.url.path).response()
