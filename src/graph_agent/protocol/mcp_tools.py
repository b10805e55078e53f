"""Graphs as tools of an MCP server: what a tool says of itself, what a call of it asks, and what it returns.

A call is a stored run, so that the next call can go on with its conversation, and a person can decide what the graph
asks. The caller of a tool cannot: it is a model, which must not approve its own calls.

This module knows no MCP library. Source: the MCP specification, "Tools".
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph_agent.protocol.field_checks import (
    Field,
    Fields,
    a_name,
    an_object,
    check_fields,
    fields_schema,
    text_within,
)
from graph_agent.protocol.steps import STEPS
from graph_agent.protocol.wire_schemas import OPEN, STRING, array_of, closed, enum

LONGEST_NAME = 64
"""Characters of a tool's name, which all model endpoints take."""

LONGEST_MESSAGE = 1_000_000
"""Characters of a message."""

ARGUMENTS: Fields = {
    "message": Field(
        text_within(LONGEST_MESSAGE), "What to ask or to do, with everything that is needed.", required="send a text"
    ),
    "conversation_id": Field(a_name, "The `conversation_id` of an earlier result, to go on with that conversation."),
    "custom_inputs": Field(an_object, "Input for the context of the graph, if it takes any."),
}
"""The arguments of a tool."""

RESULT = closed(
    None,
    {
        "status": enum("completed", "incomplete", "waiting"),
        "answer": STRING,
        "response_id": STRING,
        "conversation_id": STRING,
    },
    {
        "citations": array_of(closed(None, {"url": STRING, "title": STRING})),
        "waits_for": array_of(closed(None, {"id": STRING, "name": STRING, "arguments": OPEN})),
    },
)
"""The structured result of a tool."""

WAITS = (
    "The agent waits for the decision of a person, and has not done this yet: {asked}. You cannot decide it. The "
    "person answers on the chat page of the service, or with an `mcp_approval_response` in the conversation "
    "{conversation}."
)

_UNUSABLE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTool:
    """A tool of the server."""

    name: str
    title: str | None
    description: str | None


def tool_names(graphs: Sequence[str]) -> Mapping[str, str]:
    """The name of each tool -> its graph. Characters that model endpoints do not take are replaced."""
    tools: dict[str, str] = {}
    for graph in graphs:
        plain = _UNUSABLE.sub("_", graph)[:LONGEST_NAME] or "graph"
        name, number = plain, 1
        while name in tools:
            number += 1
            name = f"{plain[: LONGEST_NAME - 1 - len(str(number))]}_{number}"
        tools[name] = graph
    return tools


def input_schema() -> dict[str, Any]:
    """The JSON schema of the arguments of every tool."""
    return fields_schema(ARGUMENTS)


def call_fields(arguments: Mapping[str, Any], *, graph: str, steps: bool) -> dict[str, Any]:
    """The fields of a request for a response that a call asks for. With `steps`, its events tell the nodes.

    Raises:
        InvalidRequest: an argument is wrong; `param` names it.
    """
    check_fields(arguments, ARGUMENTS)
    fields: dict[str, Any] = {"model": graph, "input": arguments["message"], "stream": steps}
    if steps:
        fields["include"] = [STEPS]
    if arguments.get("conversation_id") is not None:
        fields["conversation"] = arguments["conversation_id"]
    if arguments.get("custom_inputs") is not None:
        fields["custom_inputs"] = arguments["custom_inputs"]
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call returns."""

    text: str
    structured: Mapping[str, Any]


def result_of(response: Mapping[str, Any]) -> ToolResult:
    """The result of a call whose run has ended with this response."""
    asked = [item for item in response["output"] if item["type"] == "mcp_approval_request"]
    conversation = response["conversation"]["id"]
    answer = _answer(response)
    structured: dict[str, Any] = {
        "status": "waiting" if asked else response["status"],
        "answer": answer,
        "response_id": response["id"],
        "conversation_id": conversation,
    }
    if citations := _citations(response):
        structured["citations"] = citations
    if not asked:
        return ToolResult(text=answer, structured=structured)
    structured["waits_for"] = [
        {"id": one["id"], "name": one["name"], "arguments": json.loads(one["arguments"])} for one in asked
    ]
    said = "; ".join(f"{one['name']} {one['arguments']}" for one in asked)
    waits = WAITS.format(asked=said, conversation=conversation)
    return ToolResult(text=f"{answer}\n\n{waits}" if answer else waits, structured=structured)


def _answer(response: Mapping[str, Any]) -> str:
    messages = [item for item in response["output"] if item["type"] == "message"]
    final = [item for item in messages if item.get("phase") == "final_answer"] or messages
    parts = [part for item in final for part in item["content"]]
    return "\n\n".join(part.get("text") or part.get("refusal") or "" for part in parts)


def _citations(response: Mapping[str, Any]) -> list[dict[str, str]]:
    found: dict[str, str] = {}
    for item in response["output"]:
        for part in item["content"] if item["type"] == "message" else ():
            for one in part.get("annotations", ()):
                found.setdefault(one["url"], one["title"])
    return [{"url": url, "title": title} for url, title in found.items()]
