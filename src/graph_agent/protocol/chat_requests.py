"""Turns the body of a Chat Completions request into an `Invocation`, by way of the fields of the Responses API.

So both APIs mean the same by what they share. An error or a warning names the field as this API does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from graph_agent.errors import InvalidRequest, UnsupportedField
from graph_agent.protocol.asked_options import LOGPROBS, WITHOUT_EFFECT
from graph_agent.protocol.chat_fields import NAMES, check_chat_fields, in_chat_words
from graph_agent.protocol.declared_servers import refuse_servers
from graph_agent.protocol.field_checks import at, wrong
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.protocol.request_fields import MAX_ITEMS
from graph_agent.protocol.requests import Invocation, read_request

Fields = Mapping[str, Any]

SAME = (
    *("model", "stream", "temperature", "top_p", "parallel_tool_calls", "metadata", "custom_inputs"),
    *("frequency_penalty", "presence_penalty", "top_logprobs", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier", "service_tier", "user"),
)
"""Fields that mean the same in the Responses API."""

_REFUSED: Mapping[str, str] = {
    "audio": "answers are text; leave it out",
    "functions": "OpenAI has replaced it; send `tools`",
    "function_call": "OpenAI has replaced it; send `tool_choice`",
    "moderation": "this service does not moderate; moderate in the graph",
}

_WITHOUT_EFFECT: Mapping[str, str] = {
    "logit_bias": WITHOUT_EFFECT["frequency_penalty"],
    "seed": WITHOUT_EFFECT["frequency_penalty"],
    "stop": WITHOUT_EFFECT["frequency_penalty"],
    "store": "chat completions are not stored. The Responses API at /v1/responses stores them",
    "web_search_options": "this service does not host a search",
}
"""Fields that ask for something -> why they do not get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request for a chat completion."""

    invocation: Invocation
    include_usage: bool
    """Whether a stream ends with a chunk that has the usage."""

    reasoning: bool
    """Whether the answer has the reasoning of the models."""

    logprobs: bool = False
    """Whether the answer has the probabilities of its tokens."""


def parse_chat_request(
    body: bytes,
    *,
    graphs: Sequence[str],
    fallback: str | None = None,
    always_reasoning: bool = False,
    pulse: Pulse = no_pulse,
) -> ChatRequest:
    """Read the body of a request for one of `graphs`, or for `fallback` if `model` does not name one of them.

    With `always_reasoning`, the answer has the reasoning also if the request does not set `reasoning_effort`.

    Takes time linear in the body's length and calls `pulse` often. Raises `InvalidRequest`, `UnsupportedField` or
    `UnknownGraph`; `param` is the path of the field.
    """
    fields = body_fields(body, pulse)
    refuse_servers(fields.get("tools"))
    check_chat_fields(fields)
    _refuse_unsupported(fields)
    read = MessageItems(fields["messages"], pulse)
    try:
        invocation = read_request(_responses_fields(fields, read.items), graphs=graphs, fallback=fallback, pulse=pulse)
    except InvalidRequest as error:
        raise _renamed(error, read, fields) from None
    warnings = (*map(in_chat_words, invocation.warnings), *_warnings(fields))
    effort = fields.get("reasoning_effort")
    return ChatRequest(
        invocation=replace(invocation, warnings=warnings),
        include_usage=bool((fields.get("stream_options") or {}).get("include_usage")),
        logprobs=bool(fields.get("logprobs")),
        reasoning=always_reasoning or effort not in (None, "none"),
    )


def _refuse_unsupported(fields: Fields) -> None:
    for name, reason in _REFUSED.items():
        if fields.get(name):
            raise UnsupportedField(f"`{name}` is not supported: {reason}.", param=name)
    if fields.get("n") not in (None, 1):
        raise UnsupportedField("`n` must be 1, because a run has one answer: send the request again.", param="n")
    if fields.get("top_logprobs") and not fields.get("logprobs"):
        raise InvalidRequest("`top_logprobs` needs `logprobs: true`: send both, or none.", param="top_logprobs")
    if any(one != "text" for one in fields.get("modalities") or ()):
        raise UnsupportedField("`modalities` can only be `text`: answers are text.", param="modalities")


def _warnings(fields: Fields) -> Iterator[str]:
    for name, reason in _WITHOUT_EFFECT.items():
        # A seed of 0 asks for as much as any other.
        if fields.get(name) or (name == "seed" and fields.get(name) is not None):
            yield f"`{name}` has no effect: {reason}."
    # That of a result is the name of its call.
    if any(message.get("name") and message["role"] != "tool" for message in fields["messages"]):
        yield "`name` of messages has no effect: models get only the role."


# -- as the Responses API has it --------------------------------------------------------------------------------------


def _responses_fields(fields: Fields, items: Sequence[Item]) -> dict[str, Any]:
    made: dict[str, Any] = {name: fields[name] for name in SAME if fields.get(name) is not None}
    made |= {"input": items, "store": False}
    limits = [fields[name] for name in ("max_completion_tokens", "max_tokens") if fields.get(name) is not None]
    if limits:
        made["max_output_tokens"] = min(limits)
    if fields.get("logprobs"):
        made["include"] = [LOGPROBS]
    if fields.get("reasoning_effort") is not None:
        made["reasoning"] = {"effort": fields["reasoning_effort"]}
    text = {"format": _format(fields.get("response_format")), "verbosity": fields.get("verbosity")}
    if text := {name: value for name, value in text.items() if value is not None}:
        made["text"] = text
    if fields.get("tools") is not None:
        made["tools"] = list(map(_tool, fields["tools"]))
    if (choice := fields.get("tool_choice")) is not None:
        made["tool_choice"] = choice if isinstance(choice, str) else _choice(choice)
    return made


def _format(wanted: Fields | None) -> dict[str, Any] | None:
    if wanted is None:
        return None
    inner = wanted["json_schema"] if wanted["type"] == "json_schema" else {}
    return {**{name: value for name, value in inner.items() if value is not None}, "type": wanted["type"]}


def _tool(tool: Fields) -> dict[str, Any]:
    inner = dict(tool[tool["type"]])
    # A function has no format. Whatever has that name there was not checked.
    if tool["type"] == "custom" and (grammar := (inner.get("format") or {}).get("grammar")) is not None:
        inner["format"] = {"type": "grammar", **grammar}
    return {**{name: value for name, value in inner.items() if value is not None}, "type": tool["type"]}


def _choice(choice: Fields) -> dict[str, Any]:
    kind = choice["type"]
    if kind != "allowed_tools":
        return {"type": kind, "name": choice[kind]["name"]}
    tools = [{"type": one["type"], "name": one[one["type"]]["name"]} for one in choice[kind]["tools"]]
    return {"type": kind, "mode": choice[kind]["mode"], "tools": tools}


class MessageItems:
    """The items of messages that were checked, and the paths that they came from."""

    def __init__(self, messages: Sequence[Fields], pulse: Pulse) -> None:
        self.items: list[Item] = []
        self.paths: list[str] = []
        self._custom: set[str] = set()
        for index, message in enumerate(messages):
            pulse()
            path = at("messages", index)
            match message["role"]:
                case "tool":
                    self._result(message, path)
                case "assistant":
                    self._said(message, path)
                case role:
                    self._add({"type": "message", "role": role, "content": _content(message["content"])}, path)
        if len(self.items) > MAX_ITEMS:
            raise wrong("messages", f"an array of at most {MAX_ITEMS} messages and calls", f"{len(self.items)}")

    def _add(self, item: Item, path: str) -> None:
        self.items.append(item)
        self.paths.append(path)

    def _said(self, message: Fields, path: str) -> None:
        calls = message.get("tool_calls") or ()
        content = _content(message.get("content") or "")
        if refusal := message.get("refusal"):
            before = [{"type": "text", "text": content}] if isinstance(content, str) else content
            content = [*(part for part in before if part.get("text")), {"type": "refusal", "refusal": refusal}]
        if content or not calls:
            self._add({"type": "message", "role": "assistant", "content": content}, path)
        for index, call in enumerate(calls):
            inner = at(at(path, "tool_calls"), index)
            if call.get("type") == "custom":
                self._custom.add(call["id"])
                custom = call["custom"]
                self._add({"type": "custom_tool_call", "call_id": call["id"], **_only(custom, "name", "input")}, inner)
            else:
                function = _only(call["function"], "name", "arguments")
                self._add({"type": "function_call", "call_id": call["id"], **function}, inner)

    def _result(self, message: Fields, path: str) -> None:
        call_id = message["tool_call_id"]
        kind = "custom_tool_call_output" if call_id in self._custom else "function_call_output"
        self._add({"type": kind, "call_id": call_id, "output": _content(message["content"])}, path)

    def path_of(self, path: str) -> str | None:
        """The path in this API of a path in `input`."""
        if not path.startswith("input["):
            return None
        index, _, rest = path.removeprefix("input[").partition("]")
        came = self.paths[int(index)]
        if self.items[int(index)]["type"].endswith("_output"):
            rest = rest.replace(".call_id", ".tool_call_id").replace(".output", ".content")
        elif "call" in self.items[int(index)]["type"]:
            kind = ".custom" if "custom" in self.items[int(index)]["type"] else ".function"
            rest = ".id" if rest == ".call_id" else f"{kind}{rest}"
        return f"{came}{rest}"


def _only(value: Fields, *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names}


def _content(content: str | Sequence[Fields]) -> str | list[Fields]:
    if isinstance(content, str):
        return content
    return [{"type": "input_file", **part["file"]} if part["type"] == "file" else part for part in content]


def _renamed(error: InvalidRequest, read: MessageItems, fields: Fields) -> InvalidRequest:
    """The error with the path in this API."""
    path = error.param
    if path is None:
        return error
    if path == "input":
        return error.in_words(
            "`messages` leaves nothing to answer: add a user's message, or the result of a call with the role tool.",
            param="messages",
        )
    ours = read.path_of(path) or NAMES.get(path) or _deeper(path, fields)
    return error.in_words(in_chat_words(error.message.replace(f"`{path}`", f"`{ours}`")), param=ours)


def _deeper(path: str, fields: Fields) -> str:
    """The path within a field whose own fields are one level deeper here. Others are the same."""
    if path.startswith("text.format."):
        return f"response_format.json_schema.{path.removeprefix('text.format.')}"
    if path.startswith("tools[") and "]." in path:
        index, _, rest = path.removeprefix("tools[").partition("].")
        return f"tools[{index}].{fields['tools'][int(index)]['type']}.{rest}"
    if path.startswith("tool_choice."):
        choice, rest = fields["tool_choice"], path.removeprefix("tool_choice.")
        head, dot, last = rest.rpartition(".")
        if choice["type"] == "allowed_tools" and last == "name" and dot:
            rest = f"{head}.{choice['allowed_tools']['tools'][int(head[6:-1])]['type']}.name"
        return f"tool_choice.{choice['type']}.{rest}"
    return path
