"""The description of the API at `/openapi.json`, in OpenAPI 3.1.

It is made from the routes of the app: each method carries its description (`operations`), and the tables that read
requests are the schemas of requests. So routes that a setting turns off are absent.

Source: OpenAPI 3.1.1. Streams are described as its version 3.2 does it: the schema of `text/event-stream` is that of
one frame.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from itertools import count
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from graph_agent.errors import AgentError, ForeignPage, TooManyCredentials, Unauthenticated
from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.protocol.field_checks import Schema
from graph_agent.protocol.wire_schemas import ERROR_FIELDS, STRING, closed, enum
from graph_agent.serving import bearer_gate, host_gate
from graph_agent.serving.errors import NO_RESPONSE_STATUS, RETRY_LATER
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.operations import (
    EVENTS,
    JSON,
    REQUEST_ID,
    RETRY_AFTER,
    SHOULD_RETRY,
    Answer,
    Errors,
    Operation,
    Parameter,
    described,
    operation_of,
)
from graph_agent.serving.routes import sockets
from graph_agent.serving.routes.answers import Endpoint, route
from graph_agent.serving.routes.queries import AN_ID
from graph_agent.serving.routes.responses import ADDRESSES
from graph_agent.settings import Settings
from graph_agent.threads import run_in_service_thread

PATHS = ("/openapi.json", "/api/openapi.json")
"""On Databricks Apps a bearer token reaches only addresses below `/api/`."""

TAG = "Service"

WORDS = (
    "Runs LangGraph graphs behind the Responses API. The addresses without a prefix and below `/api` speak the "
    "dialect of Databricks, and those below `/v1` that of OpenAI. Every `GET` is also served as `HEAD`, without a body."
)

WEBSOCKET = "x-openresponses-websocket"
"""The extension of OpenAPI that describes a WebSocket, as the Open Responses specification has it."""

HEADERS: Mapping[str, Any] = {
    REQUEST_ID: {"description": "The id under which the log has the request.", "schema": STRING},
    RETRY_AFTER: {"description": "The seconds after which to try again.", "schema": {"type": "integer"}},
    SHOULD_RETRY: {"description": "`false`: the same request fails again, or runs again.", "schema": STRING},
}

ERROR = closed(
    "Error",
    {"error": closed("ErrorFields", ERROR_FIELDS), "detail": STRING},
    says="`error` is for clients of OpenAI's API, and `detail` for those of MLflow.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How requests get past the gates of the app."""

    schemes: Mapping[str, Any]
    """Name -> security scheme."""
    needed: Sequence[Sequence[str]]
    """Sets of the names of schemes. A request needs one of the sets."""
    errors: Errors
    """The errors of the gates."""
    is_open: Callable[[str], bool]
    """Whether an address lets everybody through."""

    @classmethod
    def of(cls, settings: Settings, *, apps: bool, page_at: str) -> "Access":
        """The access to an app with these settings. `apps`: on Databricks Apps."""
        if apps:
            proxied = {
                "databricks": _bearer("A token of Databricks. The proxy of an app takes it below `/api/` only."),
                "forwarded": _header(
                    "X-Forwarded-Access-Token", "The token of the user, from an app that calls this one."
                ),
            }
            needed = [[name] for name in proxied]
            return cls(schemes=proxied, needed=needed, errors=(TooManyCredentials,), is_open=lambda _: False)
        schemes: dict[str, Any] = {}
        if settings.bearer_token is not None:
            schemes["bearer"] = _bearer("The token of this service.")
        if settings.user_header is not None:
            schemes["user"] = _header(settings.user_header, "The user, as the front end of this service names them.")
        needed = [list(schemes)] if schemes else []
        open_to_all: Callable[[str], bool]
        if settings.bearer_token is None:
            open_to_all = host_gate.OPEN.__contains__
            gates: Errors = (TooManyCredentials, ForeignPage)
            return cls(schemes=schemes, needed=needed, errors=gates, is_open=open_to_all)
        open_to_all = partial(bearer_gate.is_open, settings=settings, page_at=page_at)
        gates = (TooManyCredentials, Unauthenticated)
        return cls(schemes=schemes, needed=needed, errors=gates, is_open=open_to_all)


def _header(name: str, says: str) -> Mapping[str, Any]:
    return {"type": "apiKey", "in": "header", "name": name, "description": says}


def _bearer(says: str) -> Mapping[str, Any]:
    return {"type": "http", "scheme": "bearer", "description": says}


class OpenApiRoutes:
    """The description of the API."""

    def __init__(self, *, routes: Callable[[], Sequence[BaseRoute]], access: Access) -> None:
        self._routes = routes
        self._access = access
        # By the prefix of a host. Only the last one is kept, because a host could have any number.
        self._kept: tuple[str, bytes, str] | None = None

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(path, GET=self.read) for path in PATHS]

    @described(TAG, lambda _: {200: Answer("The description.", {JSON: {}}), 304: Answer("The caller has it.")})
    async def read(self, request: Request) -> Response:
        """This description."""
        prefix = prefix_of(request.scope)
        kept = self._kept
        if kept is None or kept[0] != prefix:
            # In a thread: it takes tens of milliseconds.
            text = await run_in_service_thread(self._text, prefix)
            kept = self._kept = prefix, text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'
        _, body, etag = kept
        headers = {"etag": etag, "cache-control": "no-cache"}
        if etag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=JSON, headers=headers)

    def _text(self, prefix: str) -> bytes:
        return json.dumps(document(self._routes(), self._access, prefix=prefix), ensure_ascii=False).encode()


def document(routes: Iterable[BaseRoute], access: Access, *, prefix: str = "") -> dict[str, Any]:
    """The OpenAPI document of these routes. `prefix` is where a host has mounted the app.

    Raises:
        ValueError: a method of a route has no description, or two schemas have one title.
    """
    components = _Components()
    paths: dict[str, Any] = {}
    tags: dict[str, None] = {}
    routes = list(routes)
    for one in routes:
        if isinstance(one, Route) and isinstance(one.endpoint, Endpoint):
            path = one.path.replace(":path}", "}")
            methods: dict[str, Any] = {}
            for method, answering in one.endpoint.methods.items():
                operation, summary = operation_of(answering)
                if operation is None:
                    raise ValueError(f"{method} {one.path} has no description; see serving/operations.py")
                tags[operation.tag] = None
                methods[method.lower()] = _operation(path, method, operation, summary, access, components)
            paths[path] = {**_path_parameters(path), **methods}
    for one in routes:
        if isinstance(one, WebSocketRoute):
            paths[one.path][WEBSOCKET] = components.put(sockets.description())
    return {
        "openapi": "3.1.1",
        "info": {"title": "graph-agent", "version": version("graph-agent"), "description": WORDS},
        "servers": [{"url": prefix or "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "responses": components.answers,
            "headers": HEADERS,
            "securitySchemes": dict(access.schemes),
        },
    }


class _Components:
    """Puts schemas with a title among the components, and references in their places."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        self._answers: dict[str, Any] = {}

    def answer(self, status: int, answer: Mapping[str, Any]) -> Any:
        """A reference to the answer, which many methods share. Its schema of an error becomes a component, too."""
        named = (f"Error{status}" + (f"_{number}" if number > 1 else "") for number in count(1))
        name = next(name for name in named if self._answers.setdefault(name, answer) == answer)
        if name not in self.answers:
            content = answer.get("content", {})
            if JSON in content:
                body = {"schema": self.put({"title": name, **content[JSON]["schema"]})}
                content = {**content, JSON: body}
            self.answers[name] = {**answer, "content": content} if content else answer
        return {"$ref": f"#/components/responses/{name}"}

    def put(self, value: Any) -> Any:
        """The value with references to components in it."""
        if isinstance(value, list | tuple):
            return [self.put(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        inner = {name: self.put(one) for name, one in value.items()}
        title = inner.get("title")
        # A property may have the name `title`. Then its value is a schema.
        if not isinstance(title, str):
            return inner
        if self.schemas.setdefault(title, inner) != inner:
            raise ValueError(f"two schemas have the title {title}")
        return {"$ref": f"#/components/schemas/{title}"}


def _dialect(path: str) -> Dialect:
    return ADDRESSES.get(path) or (OPENAI if path.startswith("/v1/") else RESPONSES)


def _path_parameters(path: str) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    if not names:
        return {}
    return {"parameters": [{"name": name, "in": "path", "required": True, "schema": AN_ID} for name in names]}


def _operation(
    path: str, method: str, operation: Operation, summary: str, access: Access, components: _Components
) -> dict[str, Any]:
    words = path.replace("{", "").replace("}", "").replace(".", "/").replace("-", "_").split("/")
    made: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *filter(None, words)]),
        "tags": [operation.tag],
        "summary": summary,
    }
    if operation.parameters:
        made["parameters"] = [_parameter(one) for one in operation.parameters]
    if operation.body is not None:
        content = {JSON: {"schema": components.put(operation.body)}}
        made["requestBody"] = {"required": operation.body_required, "content": content}
    public = access.is_open(path)
    made["security"] = [] if public else [{name: [] for name in names} for names in access.needed]
    gates = [kind for kind in access.errors if not (public and kind in (Unauthenticated, ForeignPage))]
    answers: dict[int, Any] = {
        status: _answer(one, components) for status, one in operation.answers(_dialect(path)).items()
    }
    for status, error in _errors([*operation.errors, *gates, AgentError], components).items():
        found = answers.get(status, {})
        if JSON in found.get("content", {}):
            # It tells this error as a part of its own.
            continue
        if "content" in found:
            error = {**error, "content": {**found["content"], **error["content"]}}
        answers[status] = components.answer(status, error)
    made["responses"] = {str(status): answers[status] for status in sorted(answers)}
    return made


def _parameter(one: Parameter) -> dict[str, Any]:
    return {"name": one.name, "in": one.place, "description": one.says, "schema": one.schema}


def _answer(one: Answer, components: _Components) -> dict[str, Any]:
    made: dict[str, Any] = {"description": one.says}
    if one.headers:
        made["headers"] = {name: {"description": says, "schema": STRING} for name, says in one.headers.items()}
    if one.content:
        made["content"] = {kind: _media(kind, schema, components, one.done) for kind, schema in one.content.items()}
    return made


def _media(kind: str, schema: Schema, components: _Components, done: bool) -> dict[str, Any]:
    put = components.put(schema)
    if kind != EVENTS:
        return {"schema": put}
    data: Schema = {"type": "string", "contentMediaType": JSON, "contentSchema": put}
    properties = {
        # The end of nearly every stream is no JSON.
        "data": {"anyOf": [{"const": "[DONE]"}, data]} if done else data,
        "event": {"type": "string", "description": "The type of the event, at the addresses of OpenAI's API."},
        "id": {"type": "string", "description": "The number of the event, where the stream can be joined."},
    }
    title = f"{schema['title']}Frame"
    frame = components.put({"title": title, "type": "object", "properties": properties, "required": ["data"]})
    return {"schema": frame, "x-events": put}


def _errors(kinds: Iterable[type[AgentError]], components: _Components) -> dict[int, Any]:
    """Status -> the answer with the errors that have it."""
    codes: dict[int, dict[str, None]] = {}
    for kind in kinds:
        codes.setdefault(kind.status, {})[kind.code] = None
    answers: dict[int, Any] = {}
    error = components.put(ERROR)
    for status, named in codes.items():
        if status == NO_RESPONSE_STATUS:
            answers[status] = {"description": "The caller has left."}
            continue
        headers = [REQUEST_ID]
        if status in RETRY_LATER:
            headers.append(RETRY_AFTER)
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            headers.append(SHOULD_RETRY)
        code = {"properties": {"error": {"properties": {"code": enum(*sorted(named))}}}}
        answers[status] = {
            "description": ", ".join(f"`{one}`" for one in sorted(named)),
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
            "content": {JSON: {"schema": {"allOf": [error, code]}}},
        }
    return answers
