"""The tool calls of a chat completion, whole or in pieces, in whatever shape an endpoint sends them.

Endpoints leave out ids or indices, give one index or id to two calls, repeat a call's name with each piece, and send
arguments as objects, as nothing, as `null`, or as a JSON text within a JSON text.
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
    """A call whose pieces arrive."""

    index: int
    """Ours: by it LangChain adds the pieces up."""

    id: str
    """What it is called by, and what the endpoint called it by, if anything."""

    given: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    held: str = ""
    """The beginning of arguments that may yet turn out to be no object."""

    passed: bool = False
    """Whether the pieces go on as they come."""

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
        """What a piece of the answer adds to its calls."""
        found = (self._piece(piece) for piece in _listed(pieces))
        return [chunk for chunk in found if chunk is not None]

    def rest(self) -> list["ToolCallChunk"]:
        """Arguments that were held back, once the answer has ended."""
        held = [call for call in self._calls if not call.passed and call.held.strip()]
        return [_chunk(call, arguments_of(call.held)) for call in held]

    def extras(self) -> dict[str, dict[str, Any]]:
        """What else the endpoint said of its calls and wants to see again, by their ids."""
        return {call.id: call.extras for call in self._calls if call.extras}

    def _piece(self, piece: Mapping[str, Any]) -> "ToolCallChunk | None":
        name, given = _name(piece), _id(piece)
        raw = _function(piece).get("arguments")
        arguments = raw if isinstance(raw, str) else "" if raw is None else json.dumps(raw)
        key = piece.get("index") if isinstance(piece.get("index"), int) else None
        call = self._by_key.get(key)
        if call is not None and given and given == call.given and arguments and arguments == call.arguments:
            # The whole call once more, as some endpoints close with.
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
    """The calls of a whole answer, those whose arguments are no object, and what else was said of them, by id."""
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
    """Arguments as the JSON text they should have been; no arguments for nothing and for `null`."""
    if raw is None:
        return "{}"
    if not isinstance(raw, str):
        return json.dumps(raw, ensure_ascii=False)
    if raw.strip() in ("", "null", "None"):
        return "{}"
    inner = _parsed(raw) if raw.lstrip().startswith('"') else None
    return inner if isinstance(inner, str) and isinstance(_parsed(inner), dict) else raw


def extra_fields_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a call beside the usual: Gemini signs its calls with one, and refuses them without."""
    return {key: value for key, value in call.items() if key not in KNOWN and value is not None}


def new_id() -> str:
    """An id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:24]}"


def _continues(call: _Call, name: str, given: str, arguments: str, *, indexed: bool) -> bool:
    """Whether a piece is more of that call, and not the beginning of another with the same index or none."""
    if given and call.given and given != call.given:
        return False
    if not name:
        return True
    if name != call.name:
        # A name in two pieces; but two calls without an index, or one that has arguments already, are two calls.
        return indexed and not call.pieces
    # The name repeated: of the same call, unless that has its arguments already.
    return not arguments or not isinstance(_parsed(call.arguments), dict)


def _passed_on(call: _Call, piece: str) -> str:
    """What of the arguments can be told now."""
    if piece:
        call.pieces.append(piece)
    if call.passed:
        return piece
    call.held += piece
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
