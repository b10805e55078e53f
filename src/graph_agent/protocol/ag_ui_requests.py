"""Turns the body of an AG-UI request into an `Invocation`, by way of the fields of the Responses API.

So a conversation can go on with clients of either kind. An error names the field as AG-UI does.

A client of AG-UI sends the whole conversation each time, as it has put it together from events. What the stored
conversation has of it is recognized (`reconcile`). A call about which a person is asked has the id of its approval.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from graph_agent.errors import AgentError, InvalidRequest
from graph_agent.protocol.ag_ui_fields import check_run_agent_input
from graph_agent.protocol.approvals import REQUEST, RESPONSE
from graph_agent.protocol.declared_servers import refuse_servers
from graph_agent.protocol.field_checks import at, wrong
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.questions import is_of_assistant
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.protocol.request_fields import MAX_ITEMS
from graph_agent.protocol.requests import Invocation, read_request
from graph_agent.protocol.steps import STEPS

Fields = Mapping[str, Any]

APPROVAL = re.compile(r"mcpr_[0-9a-f]{24}")
"""The id of an approval, as `approvals` makes it."""

AUDIO = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}
"""Subtypes of audio -> the format that model endpoints know. Others have the same name."""

NAMES: Mapping[str, str] = {
    "input": "messages",
    "model": "graph",
    "context.conversation_id": "threadId",
    "conversation": "threadId",
    "client_request_id": "runId",
    "instructions": "context",
    "custom_inputs.state": "state",
    "custom_inputs.forwarded_props": "forwardedProps",
}
"""Names of the Responses API -> those of AG-UI."""

_INNER = re.compile(r"input\[(\d+)\]([\w.\[\]]*)")
_ANSWERS: Mapping[str, str] = {
    "`approve: true`": "`approved: true`",
    "`approve: false`": "`approved: false`",
    "`arguments`": "`editedArgs`",
    "`mcp_approval_response`": "an entry of `resume`",
    "`function_call_output`": "message of the role tool",
}
"""The words for answers, as an entry of `resume` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgUiRequest:
    """A request of an AG-UI client."""

    invocation: Invocation
    thread_id: str
    run_id: str
    parent_run_id: str | None
    versioned: bool
    """Whether the client declares the version of the protocol that it speaks."""
    known_calls: frozenset[str]
    """The ids of the calls that the client has already."""

    paths: Sequence[str] = field(repr=False)
    """Of each item of the input, the path that it came from."""

    def in_terms(self, error: AgentError) -> AgentError:
        """The error with the names and paths of AG-UI."""
        return _renamed(error, self.paths)


def parse_ag_ui_request(
    body: bytes, *, graph: str | None, graphs: Sequence[str], pulse: Pulse = no_pulse
) -> AgUiRequest:
    """Read the body of a request for this one of `graphs`. `None` is the default graph.

    Takes time linear in the body's length and calls `pulse` often. Raises `InvalidRequest`, `UnsupportedField` or
    `UnknownGraph`; `param` is the path of the field.
    """
    fields = body_fields(body, pulse)
    refuse_servers(fields.get("tools"))
    check_run_agent_input(fields)
    read = _Items(pulse)
    read.messages(fields["messages"])
    read.answers(fields.get("resume") or ())
    if len(read.items) > MAX_ITEMS:
        raise wrong("messages", f"an array of at most {MAX_ITEMS} messages and calls", f"{len(read.items)}")
    if not read.items:
        raise InvalidRequest("`messages` is empty: add a user's message, or answer an interrupt.", param="messages")
    try:
        invocation = read_request(
            _responses_fields(fields, read.items, graph),
            graphs=graphs,
            stores=True,
            stored_by_default=True,
            pulse=pulse,
        )
    except InvalidRequest as error:
        raise _renamed(error, read.paths) from None
    begins = not fields.get("resume") and not any(map(is_of_assistant, read.items))
    return AgUiRequest(
        # The same messages again ask for another answer: a page sends them so when its user wants one. And because it
        # sends all messages, nothing comes before those of which none is an answer.
        invocation=replace(invocation, digest=None, from_beginning=begins),
        thread_id=fields["threadId"],
        run_id=fields["runId"],
        parent_run_id=fields.get("parentRunId"),
        versioned=fields.get("protocolVersion") is not None,
        known_calls=frozenset(read.calls),
        paths=read.paths,
    )


def _responses_fields(fields: Fields, items: Sequence[Item], graph: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "input": items,
        "stream": True,
        "context": {"conversation_id": fields["threadId"]},
        "client_request_id": fields["runId"],
        "include": [STEPS],
    }
    if graph is not None:
        made["model"] = graph
    if fields.get("tools"):
        made["tools"] = [
            {**_given(tool, "name", "description", "parameters"), "type": "function"} for tool in fields["tools"]
        ]
    if fields.get("context"):
        made["instructions"] = "\n\n".join(f"{one['description']}:\n{one['value']}" for one in fields["context"])
    inputs = {"state": fields.get("state"), "forwarded_props": fields.get("forwardedProps")}
    # Numbers and `false` say something.
    if inputs := {name: value for name, value in inputs.items() if value not in (None, {}, [], "")}:
        made["custom_inputs"] = inputs
    return made


def _given(value: Fields, *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if value.get(name) is not None}


class _Items:
    """The items of messages and answers, and the paths that they came from."""

    def __init__(self, pulse: Pulse) -> None:
        self.items: list[Item] = []
        self.paths: list[str] = []
        self.calls: set[str] = set()
        self._pulse = pulse

    def messages(self, messages: Sequence[Fields]) -> None:
        for index, message in enumerate(messages):
            self._pulse()
            self._message(message, at("messages", index))

    def answers(self, entries: Sequence[Fields]) -> None:
        for index, entry in enumerate(entries):
            answer = {"type": RESPONSE, "approval_request_id": entry["interruptId"], "approve": False}
            if entry["status"] == "resolved":
                answer |= {"approve": True, "payload": entry.get("payload")}
            self._add(answer, at("resume", index))

    def _message(self, message: Fields, path: str) -> None:
        match message["role"]:
            case "tool":
                output = _content(message["content"] or message.get("error") or "")
                self._add({"type": "function_call_output", "call_id": message["toolCallId"], "output": output}, path)
            case "assistant":
                if content := message.get("content"):
                    self._add({"type": "message", "role": "assistant", "content": content, "id": message["id"]}, path)
                for index, call in enumerate(message.get("toolCalls") or ()):
                    self._call(call, at(at(path, "toolCalls"), index))
            case "reasoning":
                summary = [{"type": "summary_text", "text": message["content"]}]
                self._add({"type": "reasoning", "id": message["id"], "summary": summary}, path)
            case "activity":
                # It is for the eyes of people, as the protocol has it.
                pass
            case role:
                self._add({"type": "message", "role": role, "content": _content(message["content"])}, path)

    def _call(self, call: Fields, path: str) -> None:
        id_, function = call["id"], _given(call["function"], "name", "arguments")
        self.calls.add(id_)
        if APPROVAL.fullmatch(id_):
            self._add({"type": REQUEST, "id": id_, **function}, path)
        else:
            self._add({"type": "function_call", "call_id": id_, **function}, path)

    def _add(self, item: Item, path: str) -> None:
        self.items.append(item)
        self.paths.append(path)


def _content(content: str | Sequence[Fields]) -> str | list[Item]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: Fields) -> Item:
    kind = part["type"]
    if kind == "text":
        return {"type": "input_text", "text": part["text"]}
    if kind == "binary":
        mime, data, url = part["mimeType"], part.get("data"), part.get("url")
        kind = {"image": "image", "audio": "audio"}.get(mime.partition("/")[0], "document")
    else:
        source = part["source"]
        mime, value = source.get("mimeType") or "", source["value"]
        data, url = (value, None) if source["type"] == "data" else (None, value)
    if kind == "audio":
        subtype = mime.partition("/")[2].partition(";")[0]
        return {"type": "input_audio", "input_audio": {"data": data, "format": AUDIO.get(subtype, subtype) or "wav"}}
    address = url if data is None else data if data.startswith("data:") else f"data:{mime};base64,{data}"
    if kind == "image":
        return {"type": "input_image", "image_url": address}
    name = part.get("filename") or _file_name(part.get("metadata"))
    return {"type": "input_file", "file_data": address, **({"filename": name} if name else {})}


def _file_name(metadata: Any) -> str | None:
    name = metadata.get("filename") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else None


def _renamed(error: AgentError, paths: Sequence[str]) -> AgentError:
    """The same error, with the names and paths of AG-UI."""

    def place(found: re.Match[str]) -> str:
        index, rest = int(found[1]), found[2]
        return f"{paths[index]}{_within(paths[index], rest)}" if index < len(paths) else found[0]

    message, param = error.message, error.param
    for name, ours in {**NAMES, **_ANSWERS}.items():
        message = message.replace(name if name in _ANSWERS else f"`{name}`", ours if name in _ANSWERS else f"`{ours}`")
    if param is not None:
        param = _INNER.sub(place, NAMES.get(param, param))
    return error.in_words(_INNER.sub(place, message), param=param)


def _within(path: str, rest: str) -> str:
    """The path within an item, as AG-UI has it."""
    if path.startswith("resume["):
        return ".interruptId" if rest == ".approval_request_id" else ".payload" if rest else ""
    if "toolCalls" in path:
        return {".call_id": ".id", ".name": ".function.name", ".arguments": ".function.arguments"}.get(rest, rest)
    return {".call_id": ".toolCallId", ".output": ".content"}.get(rest, rest)
