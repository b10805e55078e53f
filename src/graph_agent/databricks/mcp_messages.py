"""JSON-RPC messages as the SDK will read them, looked at first: what it cannot read it logs, with a traceback, and
tells nobody."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from mcp.types import ErrorData, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse, RequestId

LOST_CODES = (-32001, -32000, -32002, -32600, -32602, -32603)
"""Error codes under which servers say that they do not know a session; the first is what most use."""

_SESSION = re.compile(r"\bsession\b", re.IGNORECASE)
_LOST = re.compile(r"\b(?:not found|unknown|expired|invalid|no valid|terminated|does not exist|lost|missing)\b", re.I)


class AnswerUnreadable(Exception):
    """It is no message to this request, or holds half a character."""

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
    """Whether it is the answer, and not a request of the server's own."""

    error: ErrorData | None = None


def read_answer(body: bytes, request_id: Any, *, of_anyone: bool = False) -> Message:
    """The answer to that request; `of_anyone` takes an answer to whichever.

    Raises:
        AnswerUnreadable: it is none.
    """
    message = _read(body)
    if message is None or not message.answers or not (of_anyone or str(message.id) == str(request_id)):
        raise AnswerUnreadable("foreign")
    return message


def read_event(data: bytes, request_id: Any) -> Message | None:
    """The message of an event; nothing for progress and logs, which nobody reads, and for an event without data.

    Raises:
        AnswerUnreadable: it is none.
    """
    if not data.strip():
        return None
    message = _read(data)
    if message is not None and message.answers and str(message.id) != str(request_id):
        raise AnswerUnreadable("foreign")
    return message


def session_is_lost(error: ErrorData | None) -> bool:
    """Whether a protocol error says that the server does not know the session (any more): the call was not made."""
    if error is None or error.code not in LOST_CODES:
        return False
    said = error.message[:500]
    return _SESSION.search(said) is not None and _LOST.search(said) is not None


def whole_characters(value: Any) -> bool:
    """Whether a JSON value holds no half of a character (a lone surrogate), which no UTF-8 can carry."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(body: bytes) -> Message | None:
    """The message; nothing for one that asks for no answer, in whatever shape.

    Raises:
        AnswerUnreadable: it is none.
    """
    try:
        root = JSONRPCMessage.model_validate_json(body).root
    except ValueError:
        _explain(body)
        return None
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
    """Why the SDK cannot read it, unless it need not."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerUnreadable("foreign") from None
    if not whole_characters(raw):
        raise AnswerUnreadable("garbled")
    if not isinstance(raw, dict) or raw.get("jsonrpc") != "2.0" or "id" in raw:
        raise AnswerUnreadable("foreign")
