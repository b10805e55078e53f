"""Writes the request of a run as text, and reads it again, so that another process can run it.

The text is JSON with the number of its version. It holds everything that `RunRequest` and `ResponseHead` hold, and so
neither a token nor anything else of the run's `Scope`. Both directions give way to the event loop: a request may have
megabytes.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from graph_agent.errors import RequestUnreadable
from graph_agent.identity.caller import Caller
from graph_agent.protocol.dialects import DIALECTS, name_of
from graph_agent.protocol.events import OF_CONNECTION, OF_PROCESS, ResponseHead, StoredHead
from graph_agent.protocol.fingerprints import Fingerprints, Texts
from graph_agent.protocol.json_decoding import decode_own
from graph_agent.runs.gently import run_gently
from graph_agent.runs.request import Answers, RunRequest, Turn
from graph_agent.stores.records import Continuation, GivenDecision, GivenFeedback, StoredResponse, Waiting

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds, and the service imports this module before its port is bound.
    from langchain_core.messages import BaseMessage

    from graph_agent.protocol.json_decoding import Pulse
    from graph_agent.protocol.requests import Invocation

VERSION = 7
"""The version of the text. Raise it with every field that is added, and keep reading the versions before it."""

HALF = re.compile(r"[\ud800-\udfff]")
"""Half of a surrogate pair, which no database can keep as text."""

Fields = dict[str, Any]


async def dump_request(request: RunRequest, head: ResponseHead) -> str:
    """The text of a request and of the head of its response. `load_request` reads it."""
    value = {
        "version": VERSION,
        "request": {**_plain(request), "dialect": name_of(request.dialect)},
        "head": _plain(head),
    }

    def write(pulse: "Pulse") -> str:
        return "".join(_written(value, pulse))

    return await run_gently(write, [value])


async def load_request(text: str) -> tuple[RunRequest, ResponseHead]:
    """The request and the head of its response, equal to those from which `dump_request` has made the text.

    Raises:
        RequestUnreadable: a newer version of graph-agent has written the text, or it is damaged.
    """

    def read(pulse: "Pulse") -> tuple[RunRequest, ResponseHead]:
        value = decode_own(text, pulse=pulse)
        if value["version"] > VERSION:
            raise RequestUnreadable(
                "a newer version of graph-agent has recorded this request: run that version in every process that "
                "shares the store, or send the request again"
            )
        return _request(value["request"], pulse), _head(value["head"])

    try:
        return await run_gently(read, [text])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # Without its cause, which may quote the request.
        raise RequestUnreadable("the recorded request is damaged: send it again") from None


# -- writing ------------------------------------------------------------------------------------------------------


def _plain(one: Any) -> Fields:
    """The fields of a data class by name, as JSON knows them. Takes no time for what JSON values contain."""
    return {field.name: _plain_value(getattr(one, field.name)) for field in fields(one) if is_recorded(field)}


def is_recorded(field: "Field[Any]") -> bool:
    """Whether a field is recorded. What only a connection needs is not: no other process runs what is asked there.
    Neither are credentials, which stay in this process."""
    return not (field.metadata.get(OF_CONNECTION, False) or field.metadata.get(OF_PROCESS, False))


def _plain_value(value: Any) -> Any:
    from langchain_core.messages import BaseMessage

    match value:
        case BaseMessage():
            return {"type": value.type, "data": vars(value)}
        case _ if is_dataclass(value):
            return _plain(value)
        case [first, *_] if is_dataclass(first) or isinstance(first, BaseMessage):
            return list(map(_plain_value, value))
        case Mapping():
            return {key: _plain(one) if is_dataclass(one) else one for key, one in value.items()}
    return value


def _written(value: Any, pulse: "Pulse") -> Iterable[str]:
    for piece in json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_mapping).iterencode(value):
        pulse()
        yield piece if piece.isascii() or HALF.search(piece) is None else HALF.sub(_escape, piece)


def _escape(half: "re.Match[str]") -> str:
    return f"\\u{ord(half[0]):04x}"


def _mapping(value: Any) -> Fields:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# -- reading ------------------------------------------------------------------------------------------------------


def _request(saved: Fields, pulse: "Pulse") -> RunRequest:
    return RunRequest(
        **{
            **saved,
            "invocation": _invocation(saved["invocation"], pulse),
            "dialect": DIALECTS[saved["dialect"]],
            "owner": Caller(**saved["owner"]),
            "turn": None if saved["turn"] is None else _turn(saved["turn"]),
        }
    )


def _invocation(saved: Fields, pulse: "Pulse") -> "Invocation":
    from graph_agent.answer_form import AnswerForm
    from graph_agent.client_tools import ClientTool, ToolServer
    from graph_agent.protocol.requests import Invocation

    # An empty tuple is the default.
    read = {
        "messages": _messages(saved["messages"], pulse),
        "items": saved["items"] or (),
        "tools": tuple(ClientTool(**one) for one in saved.get("tools") or ()),
        "servers": tuple(ToolServer.read(one) for one in saved.get("servers") or ()),
        "listed": tuple(saved.get("listed") or ()),
        "answer_form": AnswerForm(**form) if (form := saved.get("answer_form")) else None,
        "warnings": tuple(saved.get("warnings") or ()),
    }
    return Invocation(**{**saved, **read})


def _messages(saved: Sequence[Fields], pulse: "Pulse") -> "list[BaseMessage]":
    from langchain_core.messages import messages_from_dict

    messages = []
    for one in saved:
        pulse()
        messages += messages_from_dict([one])
    return messages


def _turn(saved: Fields) -> Turn:
    return Turn(
        **{
            **saved,
            "continuation": Continuation(**saved["continuation"]),
            "texts": _texts(saved["texts"]),
            "answers": None if saved["answers"] is None else _answers(saved["answers"]),
            "steers": tuple(saved.get("steers") or ()),
            "repeats": None if saved["repeats"] is None else _response(saved["repeats"]),
        }
    )


def _texts(saved: Fields) -> Texts:
    segment = saved["segment"]
    return Texts(before=_fingerprints(saved["before"]), segment=None if segment is None else tuple(segment))


def _fingerprints(saved: Fields | None) -> Fingerprints | None:
    return None if saved is None else Fingerprints(**saved)


def _answers(saved: Fields) -> Answers:
    from graph_agent.protocol.approvals import Approval, Decision

    return Answers(
        **{
            **saved,
            "waiting": [Approval.read(one) for one in saved["waiting"]],
            "decisions": {id_: Decision.read(one) for id_, one in saved["decisions"].items()},
            "given": [GivenDecision(**one) for one in saved["given"]],
        }
    )


def _response(saved: Fields) -> StoredResponse:
    return StoredResponse(
        **{
            **saved,
            "fingerprints": _fingerprints(saved["fingerprints"]),
            "waiting": None if saved["waiting"] is None else Waiting(**saved["waiting"]),
            "feedback": {name: GivenFeedback(**one) for name, one in saved.get("feedback", {}).items()},
        }
    )


def _head(saved: Fields) -> ResponseHead:
    read = {
        "stored": None if saved["stored"] is None else StoredHead(**saved["stored"]),
        "warnings": tuple(saved.get("warnings") or ()),
    }
    return ResponseHead(**{**saved, **read})
