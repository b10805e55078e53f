"""Shared by all routes of the local workspace: reading bodies, JSON answers, and errors in the form of Databricks."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_agent.errors import AgentError
from graph_agent.trusted_hosts import NOT_JSON, is_json

logger = logging.getLogger(__name__)

ERROR_CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "RESOURCE_EXHAUSTED",
    503: "TEMPORARILY_UNAVAILABLE",
}


RETRY_LATER = frozenset({429, 503})
RETRY_AFTER_SECONDS = 2


class ApiError(Exception):
    """An error answer. `code` is the error code that Databricks uses."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or ERROR_CODES.get(status, "INTERNAL_ERROR")
        self.message = message

    @classmethod
    def of(cls, error: Exception) -> "ApiError":
        """Turn any exception into an error answer. The messages of foreign exceptions are not passed on."""
        if isinstance(error, ApiError):
            return error
        if isinstance(error, AgentError):
            return cls(error.status, error.message)
        logger.error("the local workspace failed: %s at %s", type(error).__name__, error_place(error))
        return cls(500, "The local workspace failed. Its log says where.")

    def body(self) -> dict[str, Any]:
        return {"error_code": self.code, "message": self.message}

    def response(self) -> Response:
        answer = json_response(self.body(), status=self.status)
        if self.status in RETRY_LATER:
            answer.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        return answer


def error_place(error: Exception) -> str:
    """Where an exception was raised. Its message is not used, because it may contain a prompt or a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def not_found(what: str, name: str) -> ApiError:
    return ApiError(404, f"{what} '{name}' does not exist.")


def no_such_api(method: str, path: str) -> ApiError:
    return ApiError(404, f"No API found for '{method} {path}'", code="ENDPOINT_NOT_FOUND")


def json_response(value: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


async def json_object(request: Request) -> dict[str, Any]:
    """The body of a request. Raises `ApiError` if it, or its content type, is not a JSON object.

    orjson also rejects lone surrogates and NaN.
    """
    if not is_json(request.headers.raw):
        raise ApiError(415, f"The local workspace refused the request: {NOT_JSON}.")
    return parsed_object(await request.body(), "The body")


async def short_body(request: Request, most: int) -> bytes:
    """The body of a request. Raises `ApiError` when it exceeds `most` bytes, without reading the rest."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise ApiError(413, f"The body must have at most {most} bytes.")
    return bytes(body)


def parsed_object(data: bytes | str, name: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"{name} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise bad_request(f"{name} must be a JSON object.")
    return value


def texts(body: Mapping[str, Any], field: str) -> list[str]:
    """The value of a field that must be a list of strings with at least one."""
    value = body.get(field)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    raise bad_request(f"'{field}' must be a list of strings with at least one.")


def optional_text(body: Mapping[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is None or isinstance(value, str):
        return value
    raise bad_request(f"'{field}' must be a string.")


def number(body: Mapping[str, Any], field: str, *, default: float) -> float:
    value = body.get(field)
    if value is None:
        return default
    # In Python a bool is an int.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise bad_request(f"'{field}' must be a number.")


def whole_number(body: Mapping[str, Any], field: str, *, default: int, least: int, most: int) -> int:
    value = body.get(field)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise bad_request(f"'{field}' must be a whole number from {least} to {most}.")


def refuse_fields(body: Mapping[str, Any], fields: Sequence[str]) -> None:
    """Refuse fields that this workspace does not support. Ignoring one would answer a different question."""
    for field in fields:
        if body.get(field):
            raise bad_request(f"The local workspace does not support '{field}'; leave it out.")


class ErrorLayer:
    """The outermost middleware: every exception becomes an error answer, and no traceback reaches the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the outermost layer: uvicorn would log a traceback with prompts
            fault = ApiError.of(error)
            # After the start there is no way to send a status. The connection just ends.
            if not started:
                await fault.response()(scope, receive, send)
