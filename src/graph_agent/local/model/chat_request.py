"""A chat completions request as values: the tools that it offers and the kinds of answer that it allows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from graph_agent.errors import InvalidRequest

Message = Mapping[str, Any]
Schema = Mapping[str, Any]
AnswerKind = Literal["text", "calls", "either"]

DEFAULT_OUTPUT = 1024
"""Token limit of an answer if the request has none. A small model may never stop by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: Schema

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The schemas of the arguments, by name."""
        found = self.parameters.get("properties")
        return {name: schema for name, schema in found.items() if isinstance(schema, Mapping)} if found else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call that the model requests."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """A key that is equal for calls of the same tool with the same arguments."""
        return self.name, json.dumps(self.arguments, sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """The parts of a request body that the local model uses."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    """All offered tools. The prompt lists them regardless of `tool_choice`, so that its beginning stays cached."""

    callable_tools: tuple[Tool, ...]
    """The tools that `tool_choice` allows."""

    answer: AnswerKind
    max_tokens: int
    sampling: Mapping[str, Any]
    """`temperature` and other parameters, under their names in llama.cpp."""

    schema: Schema | None
    """The JSON schema that a text answer must follow."""

    likeliest: int | None = None
    """How many of the likeliest tokens are told with each token of a text; None tells no probabilities."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a body. The caller has checked the types of its fields.

        Raises:
            InvalidRequest: `tool_choice` or `response_format` cannot be used.
        """
        tools = tuple(_tool(offered["function"]) for offered in body.get("tools") or ())
        callable_tools, answer = _choice(body.get("tool_choice"), tools)
        return cls(
            messages=tuple(body["messages"]),
            tools=tools,
            callable_tools=callable_tools,
            answer=answer,
            max_tokens=body.get("max_tokens") or body.get("max_completion_tokens") or DEFAULT_OUTPUT,
            sampling=dict(_sampling(body)),
            schema=_response_schema(body.get("response_format")),
            likeliest=body.get("top_logprobs") or 0 if body.get("logprobs") else None,
        )


def _tool(function: Mapping[str, Any]) -> Tool:
    parameters = function.get("parameters")
    return Tool(
        name=function["name"],
        description=str(function.get("description") or ""),
        parameters=parameters if isinstance(parameters, Mapping) else {},
    )


def _choice(choice: Any, tools: Sequence[Tool]) -> tuple[tuple[Tool, ...], AnswerKind]:
    match choice:
        case "none":
            return (), "text"
        case None | "auto":
            return tuple(tools), "either" if tools else "text"
        # "any" is another common name for "required".
        case "required" | "any" if tools:
            return tuple(tools), "calls"
        case {"function": {"name": str() as name}}:
            named = tuple(tool for tool in tools if tool.name == name)
            if named:
                return named, "calls"
    raise InvalidRequest("tool_choice must be none, auto, required or the name of an offered tool", param="tool_choice")


def _sampling(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    # A small model answers best at temperature 0, so that is the default and not 1 as in OpenAI's API.
    yield "temperature", body.get("temperature") or 0.0
    for name in ("top_p", "seed", "presence_penalty", "frequency_penalty"):
        if isinstance(body.get(name), int | float):
            yield name, body[name]
    if stop := body.get("stop"):
        yield "stop", [stop] if isinstance(stop, str) else list(stop)


def _response_schema(response_format: Any) -> Schema | None:
    match response_format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "json_schema": {"schema": {**schema}}}:
            return {str(key): value for key, value in schema.items()}
    raise InvalidRequest("response_format must be text, json_object or json_schema", param="response_format")


def text_of(content: Any) -> str:
    """The text of a message's content. Parts of other types are replaced by their type in brackets."""
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    return "" if content is None else str(content)


def _part_text(part: Any) -> str:
    match part:
        case {"text": str() as text}:
            return text
        case {"type": str() as kind}:
            return f"[{kind}]"
    return str(part)


def calls_in(message: Message) -> Iterator[tuple[str, Call]]:
    """The calls of an assistant message, each with its id."""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        # An earlier call in the history may have invalid arguments. That must not fail this request.
        try:
            arguments = json.loads(function.get("arguments") or "{}")
        except ValueError:
            arguments = {}
        arguments = arguments if isinstance(arguments, dict) else {}
        yield str(call.get("id", "")), Call(name=function["name"], arguments=arguments)


def current_turn(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages from the last user message to the end."""
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return messages[users[-1] if users else 0 :]
