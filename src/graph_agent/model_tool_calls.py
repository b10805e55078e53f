"""Reads the tool calls of a chat completion, whole or in pieces, in the various shapes that endpoints send.

Endpoints omit ids or indices, give two calls the same index or id, repeat the name of a call with each piece, and send
arguments as objects, not at all, as `null`, or as a JSON text inside of a JSON text.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import InvalidToolCall, ToolCall, ToolCallChunk

NO_OBJECT = "the arguments are not a JSON object"
KNOWN = ("index", "id", "type", "function")


@dataclass(slots=True)
class _Call:
    """A call that is being received in pieces."""

    index: int
    """Our own index, by which LangChain merges the pieces."""

    id: str
    """The id that we report for the call."""

    given: str
    """The id that the endpoint gave it, or an empty string."""

    name: str = ""
    pieces: list[str] = field(default_factory=list)
    held: str = ""
    """The beginning of the arguments, until it is clear that they are an object."""

    passed: bool = False
    """Whether pieces are passed on immediately."""

    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


class CallReader:
    """Reads the calls of one streamed answer."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_key: dict[Any, _Call] = {}

    def read(self, pieces: Any) -> list["ToolCallChunk"]:
        """The chunks that this piece of the answer adds to its calls."""
        found = (self._piece(piece) for piece in _listed(pieces))
        return [chunk for chunk in found if chunk is not None]

    def rest(self) -> list["ToolCallChunk"]:
        """The arguments that were held back. Call it after the answer has ended."""
        held = [call for call in self._calls if not call.passed and call.held.strip()]
        return [_chunk(call, arguments_of(call.held)) for call in held]

    def extras(self) -> dict[str, dict[str, Any]]:
        """Further fields of the calls, by id. The endpoint expects them back with the next request."""
        return {call.id: call.extras for call in self._calls if call.extras}

    def _piece(self, piece: Mapping[str, Any]) -> "ToolCallChunk | None":
        name, given = _name(piece), _id(piece)
        raw = _function(piece).get("arguments")
        arguments = raw if isinstance(raw, str) else "" if raw is None else json.dumps(raw)
        key = piece.get("index") if isinstance(piece.get("index"), int) else None
        call = self._by_key.get(key)
        if call is not None and given and given == call.given and arguments and arguments == call.arguments:
            # Some endpoints repeat the whole call at the end.
            return None
        begins = call is None or not _continues(call, name, given, arguments, indexed=key is not None)
        if call is None or begins:
            call = self._by_key[key] = self._begin(given)
        call.given = call.given or given
        call.extras |= extra_fields_of(piece)
        new_name = "" if name == call.name else name
        call.name += new_name
        shown = _passed_on(call, arguments)
        if not (begins or new_name or shown):
            return None
        return _chunk(call, shown, name=new_name or None, id=call.id if begins else None)

    def _begin(self, given: str) -> _Call:
        taken = {call.id for call in self._calls}
        call = _Call(len(self._calls), given if given and given not in taken else new_id(), given)
        self._calls.append(call)
        return call


def whole_calls(calls: Any) -> tuple[list["ToolCall"], list["InvalidToolCall"], dict[str, dict[str, Any]]]:
    """The valid calls of a whole answer, the calls whose arguments are not an object, and further fields by id."""
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    extras: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    for one in _listed(calls):
        given = _id(one)
        name, id = _name(one), given if given and given not in taken else new_id()
        taken.add(id)
        text = arguments_of(_function(one).get("arguments"))
        arguments = _parsed(text)
        if isinstance(arguments, dict):
            good.append({"name": name, "args": arguments, "id": id, "type": "tool_call"})
        else:
            bad.append({"name": name, "args": text, "id": id, "error": NO_OBJECT, "type": "invalid_tool_call"})
        if more := extra_fields_of(one):
            extras[id] = more
    return good, bad, extras


def arguments_of(raw: Any) -> str:
    """The arguments as the JSON text that the API specifies. Missing arguments and `null` become `{}`."""
    if raw is None:
        return "{}"
    if not isinstance(raw, str):
        return json.dumps(raw, ensure_ascii=False)
    if raw.strip() in ("", "null", "None"):
        return "{}"
    inner = _parsed(raw) if raw.lstrip().startswith('"') else None
    return inner if isinstance(inner, str) and isinstance(_parsed(inner), dict) else raw


def extra_fields_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a call that the API does not define. Gemini signs its calls in one and refuses calls without it."""
    return {key: value for key, value in call.items() if key not in KNOWN and value is not None}


def new_id() -> str:
    """An id for a call that has none."""
    return f"call_{uuid.uuid4().hex[:24]}"


def _continues(call: _Call, name: str, given: str, arguments: str, *, indexed: bool) -> bool:
    """Whether a piece continues this call. Otherwise it begins another call, with the same index or without one."""
    if given and call.given and given != call.given:
        return False
    if not name:
        return True
    if name != call.name:
        # The name may come in two pieces. Without an index, or after the arguments have begun, it is another call.
        return indexed and not call.pieces
    # A repeated name belongs to the same call, unless the call's arguments are already complete.
    return not arguments or not isinstance(_parsed(call.arguments), dict)


def _passed_on(call: _Call, piece: str) -> str:
    """The part of the arguments that can be passed on now."""
    if piece:
        call.pieces.append(piece)
    if call.passed:
        return piece
    call.held += piece
    # Anything else than an object may need repair as a whole, such as a JSON text inside of a JSON text.
    if not call.held.lstrip().startswith("{"):
        return ""
    call.passed, held, call.held = True, call.held, ""
    return held


def _chunk(call: _Call, arguments: str, *, name: str | None = None, id: str | None = None) -> "ToolCallChunk":
    return {"name": name, "args": arguments, "id": id, "index": call.index, "type": "tool_call_chunk"}


def _listed(calls: Any) -> Iterator[Mapping[str, Any]]:
    several: Sequence[Any] = calls if isinstance(calls, list) else [calls] if isinstance(calls, dict) else []
    for one in several:
        if isinstance(one, Mapping):
            yield one


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    return function if isinstance(function, Mapping) else call


def _name(call: Mapping[str, Any]) -> str:
    name = _function(call).get("name")
    return name if isinstance(name, str) else ""


def _id(call: Mapping[str, Any]) -> str:
    given = call.get("id")
    return given if isinstance(given, str) else "" if given is None else str(given)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
