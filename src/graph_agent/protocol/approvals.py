"""Approvals: what a graph asks with `interrupt()` as `mcp_approval_request` items, and the answers as resume values.

An approval is one place in the payload of one interrupt. Three forms of payload are understood:

| Payload | Approvals | The interrupt is resumed with |
|---|---|---|
| LangChain's `action_requests` and `review_configs` | one for each action | all decisions at once, in order |
| LangChain's `tool_approval` | one | one decision |
| any other | one, which asks a question | true, false, or what the client sends as `output` |

This module is pure. `runs` decides which approvals wait.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic_core import to_jsonable_python

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import at
from graph_agent.protocol.interrupts import PendingInterrupt
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.items_from_messages import new_id
from graph_agent.protocol.json_decoding import UnusableJson, decode
from graph_agent.protocol.requested_calls import arguments_of
from graph_agent.redaction import redact_value

REQUEST = "mcp_approval_request"
RESPONSE = "mcp_approval_response"

Form = Literal["batch", "call", "question"]
Kind = Literal["approve", "edit", "reject", "respond"]

EVERY_KIND: tuple[Kind, ...] = ("approve", "edit", "reject", "respond")
OF_QUESTION: tuple[Kind, ...] = ("approve", "reject", "respond")
YES_OR_NO: tuple[Kind, ...] = ("approve", "reject")

QUESTION = "question"
"""The name of an approval that asks anything else than whether a tool may be called."""

MOST_SCHEMA = 65_536
"""The most bytes of a schema. A longer one is left out."""

HOW: Mapping[Kind, str] = {
    "approve": "`approve: true`",
    "edit": "`approve: true` with `arguments`",
    "reject": "`approve: false`",
    "respond": "`approve: true` with `output`",
}

PAYLOAD: Mapping[str, str] = {"approved": "approve", "editedArgs": "arguments", "reason": "reason", "output": "output"}
"""The fields of an answer's `payload` about a call -> those of the answer itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One question to a person."""

    id: str
    """The id of its item, which nobody can guess."""

    interrupt: str
    """The id of the interrupt, as LangGraph knows it. No client sees it."""

    place: int
    """The place in the payload of the interrupt."""

    form: Form
    name: str
    """The tool that is to be called, or `QUESTION`."""

    arguments: str
    """JSON, without secrets."""

    allowed: tuple[Kind, ...]
    """The decisions that the graph accepts."""

    call: str | None = None
    """The id of the tool call in the graph's messages, if it is known."""

    schema: Mapping[str, Any] | None = None
    """The JSON schema of the tool's arguments, if it is known. Of a question, that of the answer, if the graph gives
    one."""

    server: str | None = None
    """The label of the MCP server of the client that has the tool, if it is one."""

    tool: str | None = None
    """The tool as that server calls it."""

    def item(self, server: str) -> Item:
        """The item that asks. `server` is the label of the graph."""
        item = {
            "type": REQUEST,
            "id": self.id,
            "name": self.tool or self.name,
            "arguments": self.arguments,
            "server_label": self.server or server,
            "allowed_decisions": list(self.allowed),
        }
        return item if self.schema is None else item | {"input_schema": self.schema}

    def asks_the_same(self, other: "Approval") -> bool:
        """Whether both ask the same at the same place, under any id."""
        return _key(self) == _key(other)

    def fields(self) -> dict[str, Any]:
        """For a store, as JSON."""
        return asdict(self)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """From `fields`, also of a version that knows more of them."""
        known = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "allowed": tuple(fields["allowed"])})


def _key(one: Approval) -> tuple[Any, ...]:
    return one.interrupt, one.place, one.form, one.name, one.arguments


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided."""

    kind: Kind
    arguments: Mapping[str, Any] | None = None
    """The edited arguments."""

    text: Any = None
    """The reason of a rejection, or the answer of a `respond`."""

    def fields(self) -> dict[str, Any]:
        """For a store, as JSON. The same decision is the same text if its keys are sorted."""
        return asdict(self)

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """From `fields`."""
        return cls(**fields)


# What a graph asks

SchemaOf = Callable[[PendingInterrupt, str], Mapping[str, Any] | None]
"""The schema of the arguments of the tool with this name, about which the interrupt asks."""


def _no_schema(interrupt: PendingInterrupt, name: str) -> None:
    return None


def approvals_of(
    interrupts: Iterable[PendingInterrupt], *, known: Sequence[Approval] = (), schema_of: SchemaOf = _no_schema
) -> list[Approval]:
    """The approvals that these interrupts ask for. Those that are `known` keep their ids. `schema_of` is asked for the
    schema of a tool's arguments if the interrupt does not say it."""
    found = []
    for one in interrupts:
        for place, approval in enumerate(_asked(one, schema_of)):
            same = next((other for other in known if other.asks_the_same(approval)), None)
            found.append(approval if same is None or same.place != place else same)
    return found


def _asked(one: PendingInterrupt, schema_of: SchemaOf) -> list[Approval]:
    match one.value:
        case {"action_requests": list(actions), "review_configs": list(configs)} if actions and all(
            map(_is_action, actions)
        ):
            reviews = [_review(action, place, configs) for place, action in enumerate(actions)]
            return [
                _approval(
                    one,
                    place,
                    "batch",
                    action["name"],
                    action["args"],
                    _kinds(review.get("allowed_decisions")) or EVERY_KIND,
                    schema=review.get("args_schema") or schema_of(one, action["name"]),
                )
                for place, (action, review) in enumerate(zip(actions, reviews, strict=True))
            ]
        case {"type": "tool_approval", "name": str(name), "args": dict(args)} as value:
            call = value.get("tool_call_id")
            allowed = _allowed_by(one.schema) or EVERY_KIND
            known = call if isinstance(call, str) else None
            return [_approval(one, 0, "call", name, args, allowed, known, schema_of(one, name))]
        case value:
            schema = value.get("input_schema") if isinstance(value, Mapping) else None
            arguments = _as_arguments(value)
            allowed = YES_OR_NO if one.yes_or_no else OF_QUESTION
            return [_approval(one, 0, "question", QUESTION, arguments, allowed, schema=schema or one.schema)]


def _is_action(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str) and isinstance(value.get("args"), Mapping)


def _approval(
    one: PendingInterrupt,
    place: int,
    form: Form,
    name: str,
    arguments: Any,
    allowed: tuple[Kind, ...],
    call: str | None = None,
    schema: Any = None,
) -> Approval:
    return Approval(
        id=new_id("mcpr"),
        interrupt=one.id,
        place=place,
        form=form,
        name=name,
        arguments=arguments_of(arguments),
        allowed=allowed,
        call=call,
        schema=_public_schema(schema),
    )


def _public_schema(schema: Any) -> Mapping[str, Any] | None:
    """The schema as JSON and without secrets, if a response can hold it."""
    if not isinstance(schema, Mapping):
        return None
    try:
        text = json.dumps(schema, ensure_ascii=False, default=str, allow_nan=False)
        if len(text.encode()) > MOST_SCHEMA:
            return None
        public = redact_value(decode(text))
    except (TypeError, ValueError, RecursionError, UnusableJson):
        return None
    return public if isinstance(public, dict) else None


def _review(action: Mapping[str, Any], place: int, configs: Sequence[Any]) -> Mapping[str, Any]:
    """What `review_configs` say about an action."""
    named = [one for one in configs if isinstance(one, Mapping) and one.get("action_name") == action["name"]]
    here = configs[place] if place < len(configs) else None
    return here if here in named else (named[0] if named else {})


def _allowed_by(schema: Any) -> tuple[Kind, ...]:
    """The decisions for which the JSON schema of an answer has a branch."""
    found: list[Any] = []

    def search(value: Any, depth: int) -> None:
        if isinstance(value, Mapping) and depth:
            kind = value.get("properties", {}).get("type") if isinstance(value.get("properties"), Mapping) else None
            if isinstance(kind, Mapping):
                found.append(kind.get("const"))
            for one in value.values():
                search(one, depth - 1)
        elif isinstance(value, list) and depth:
            for one in value:
                search(one, depth - 1)

    search(schema, 5)
    return _kinds(found)


def _kinds(value: Any) -> tuple[Kind, ...]:
    return tuple(kind for kind in EVERY_KIND if isinstance(value, list) and kind in value)


def _as_arguments(value: Any) -> Mapping[str, Any]:
    """Any payload as the arguments of a call, which are always an object."""
    plain = to_jsonable_python(value, fallback=lambda one: f"({type(one).__name__})")
    if isinstance(plain, dict):
        return plain
    return {"question": plain} if isinstance(plain, str) else {"value": plain}


# What a person answers


def decision_of(item: Item, path: str, approval: Approval) -> Decision:
    """The decision of an `mcp_approval_response`. `path` is the path of the item in the request.

    Raises:
        InvalidRequest: the graph does not accept this decision, or it cannot be read.
    """
    decision = _decision(item, path, approval)
    if decision.kind not in approval.allowed:
        what = {"edit": "arguments", "respond": "output"}.get(decision.kind, "approve")
        allowed = ", ".join(HOW[kind] for kind in approval.allowed)
        raise InvalidRequest(
            f"`{path}.{what}`: this decision ({decision.kind}) is not allowed for {approval.name}; allowed: {allowed}.",
            param=f"{path}.{what}",
        )
    return decision


def _decision(item: Item, path: str, approval: Approval) -> Decision:
    if "payload" in item:
        item = {**item, **_of_payload(item["payload"], path, approval)}
    edits, output = item.get("arguments"), item.get("output")
    if edits is not None and output is not None:
        raise InvalidRequest(
            f"`{path}.output` and `{path}.arguments` exclude each other: send one of them.", param=f"{path}.output"
        )
    if not item["approve"]:
        for name in ("arguments", "output"):
            if item.get(name) is not None:
                raise InvalidRequest(f"`{path}.{name}` needs `approve: true`.", param=f"{path}.{name}")
        return Decision(kind="reject", text=item.get("reason") or None)
    if edits is not None:
        edited = _edited(edits, f"{path}.arguments")
        # A client may send back the arguments that it was asked about.
        return Decision(kind="approve") if _same(edited, approval) else Decision(kind="edit", arguments=edited)
    if output is None:
        return Decision(kind="approve")
    if approval.form == "question":
        return Decision(kind="respond", text=output)
    return Decision(kind="respond", text=output if isinstance(output, str) else json.dumps(output, ensure_ascii=False))


def _of_payload(payload: Any, path: str, approval: Approval) -> dict[str, Any]:
    """The fields of an answer that came as one value, as clients of AG-UI send it."""
    if isinstance(payload, bool) and approval.allowed == YES_OR_NO:
        return {"approve": payload}
    if approval.form == "question":
        return {} if payload is None else {"output": payload}
    if isinstance(payload, bool):
        payload = {"approved": payload}
    if not isinstance(payload, dict) or not isinstance(payload.get("approved"), bool):
        path = f"{path}.payload"
        raise InvalidRequest(f"`{path}` must be an object with `approved`, which is true or false.", param=path)
    if (unknown := next((name for name in payload if name not in PAYLOAD), None)) is not None:
        path = at(f"{path}.payload", unknown)
        raise InvalidRequest(f"`{path}` is not known; known: {', '.join(PAYLOAD)}.", param=path)
    return {ours: payload[name] for name, ours in PAYLOAD.items() if payload.get(name) is not None}


def _edited(value: Any, path: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = decode(value)
        except UnusableJson:
            value = None
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{path}` must be a JSON object, as an object or as text.", param=path)
    return value


def _same(edited: Mapping[str, Any], approval: Approval) -> bool:
    return bool(approval.form != "question" and edited == decode(approval.arguments))


def resume_values(approvals: Sequence[Approval], decisions: Mapping[str, Decision]) -> dict[str, Any]:
    """Interrupt id -> its value, for each interrupt of which every approval has a decision."""
    of: dict[str, list[Approval]] = {}
    for one in approvals:
        of.setdefault(one.interrupt, []).append(one)
    return {
        interrupt: _value(sorted(asked, key=lambda one: one.place), decisions)
        for interrupt, asked in of.items()
        if all(one.id in decisions for one in asked)
    }


def _value(asked: Sequence[Approval], decisions: Mapping[str, Decision]) -> Any:
    if asked[0].form == "batch":
        return {"decisions": [_langchain(one, decisions[one.id]) for one in asked]}
    decision = decisions[asked[0].id]
    if asked[0].form == "call":
        return _langchain(asked[0], decision)
    return decision.text if decision.kind == "respond" else decision.kind == "approve"


def _langchain(approval: Approval, decision: Decision) -> dict[str, Any]:
    if decision.kind == "edit":
        # The name is the graph's own: a decision never changes which tool runs.
        return {"type": "edit", "edited_action": {"name": approval.name, "args": dict(decision.arguments or {})}}
    if decision.text is not None:
        return {"type": decision.kind, "message": decision.text}
    return {"type": decision.kind}


def rejection(approval: Approval) -> Decision | None:
    """The decision of a person who went on without deciding, if the graph accepts a rejection."""
    return Decision(kind="reject", text=UNANSWERED) if "reject" in approval.allowed else None


UNANSWERED = "the user went on without deciding"
