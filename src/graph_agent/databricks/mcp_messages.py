"""JSON-RPC messages, checked before the SDK reads them. A message that the SDK cannot read it logs with a traceback,
and its caller waits without an answer."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId

LOST_CODES = (-32001, -32000, -32002, -32600, -32602, -32603)
"""Error codes with which servers report an unknown session. Most use the first."""

# The protocol defines no code for it, and the other codes have other meanings too, so the text decides.

_SESSION = re.compile(r"\bsession\b", re.IGNORECASE)
_LOST = re.compile(r"\b(?:not found|unknown|expired|invalid|no valid|terminated|does not exist|lost|missing)\b", re.I)


class AnswerUnreadable(Exception):
    """The body is not a message that answers this request, or it contains a lone surrogate."""

    def __init__(self, reason: Literal["foreign", "garbled"]) -> None:
        super().__init__(reason)
        self.reason: Literal["foreign", "garbled"] = reason


@dataclass(frozen=True, slots=True)
class Message:
    """A message that the SDK can read."""

    body: bytes
    """On one line."""

    id: RequestId
    answers: bool
    """Whether it is the answer, and not a request from the server."""

    error: ErrorData | None = None


def read_answer(body: bytes, request_id: Any, *, of_anyone: bool = False) -> Message:
    """The answer to that request; with `of_anyone`, the answer to any request.

    Raises:
        AnswerUnreadable: the body is not such an answer.
    """
    message = _read(body)
    # Compared as text, as a numeric id may come back as a string.
    if message is None or not message.answers or not (of_anyone or str(message.id) == str(request_id)):
        raise AnswerUnreadable("foreign")
    return message


def read_event(data: bytes, request_id: Any) -> Message | None:
    """The message of an event. `None` for progress and log notifications, which are not used, and for an empty event.

    Raises:
        AnswerUnreadable: the data is not a message.
    """
    if not data.strip():
        return None
    message = _read(data)
    if message is not None and message.answers and str(message.id) != str(request_id):
        raise AnswerUnreadable("foreign")
    return message


def session_is_lost(error: ErrorData | None) -> bool:
    """Whether a protocol error says that the server does not know the session. The call was then not carried out."""
    if error is None or error.code not in LOST_CODES:
        return False
    # Bounded, as the patterns search the whole text.
    said = error.message[:500]
    return _SESSION.search(said) is not None and _LOST.search(said) is not None


def whole_characters(value: Any) -> bool:
    """Whether a JSON value has no lone surrogate (half of a character), which UTF-8 cannot encode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(body: bytes) -> Message | None:
    """The message; `None` for a notification, which needs no answer, of any shape.

    Raises:
        AnswerUnreadable: the body is not a message.
    """
    try:
        root = JSONRPCMessage.model_validate_json(body).root
    except ValueError:
        _explain(body)
        return None
    # In an event each line break would start a new `data:` field. JSON strings escape theirs.
    line = body.replace(b"\r", b" ").replace(b"\n", b" ")
    match root:
        case JSONRPCResponse():
            return Message(line, root.id, True)
        case JSONRPCError():
            return Message(line, root.id, True, root.error)
        case JSONRPCRequest():
            return Message(line, root.id, False)
    return None


def _explain(body: bytes) -> None:
    """Raise the reason why the SDK cannot read a body, unless it is a notification, which it may ignore."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerUnreadable("foreign") from None
    if not whole_characters(raw):
        raise AnswerUnreadable("garbled")
    if not isinstance(raw, dict) or raw.get("jsonrpc") != "2.0" or "id" in raw:
        raise AnswerUnreadable("foreign")
