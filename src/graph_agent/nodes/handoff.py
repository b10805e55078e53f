"""Hand-offs: the tools with which a supervisor passes a turn to an agent, and how to read them from the messages.

A hand-off whose call gets a result immediately is *final*: the agent answers the caller itself. For any other, the
agent's answer is the result, and the supervisor continues.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from graph_agent.errors import ConfigurationError

PREFIX = "transfer_to_"
"""Prefix of the names of hand-off tools, as in `langgraph-supervisor`."""

REFUSED = "graph_agent_refused"
"""Key in a result's `additional_kwargs`: the supervisor called something that is not an agent."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")
"""With the prefix at most 64 characters, the limit of model endpoints for the names of tools."""


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """A tool that passes the turn to the agent `to`, which is the name of its node.

    Raises:
        ConfigurationError: the node's name cannot be part of a tool's name.
    """

    to: str
    description: str
    """The purpose of the agent."""

    example: str
    """A task as a model should write it. Small models need an example."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.to):
            raise ConfigurationError(
                f"{self.to!r} cannot be the target of a hand-off: name its node with at most 50 letters, digits, _ or -"
            )

    @property
    def name(self) -> str:
        """The tool's name."""
        return PREFIX + self.to

    @property
    def schema(self) -> dict[str, Any]:
        """The tool's definition for a chat model."""
        task = {"type": "string", "description": "what it should do", "maxLength": 300, "examples": [self.example]}
        hand_back = {"type": "boolean", "description": "true if another must go on with its answer"}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {
                    "type": "object",
                    "properties": {"task": task, "hand_back": hand_back},
                    "required": ["task"],
                },
            },
        }


def is_handoff(name: str) -> bool:
    """Whether the tool with that name is a hand-off."""
    return name.startswith(PREFIX)


def target_of(call: Any) -> str:
    """The agent that a hand-off passes the turn to."""
    return str(call["name"]).removeprefix(PREFIX)


def expects_answer(call: Any) -> bool:
    """Whether the supervisor continues after this hand-off."""
    # As text: small models write booleans as strings.
    return str(call["args"].get("hand_back", "")).lower() == "true"


def turn_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages after the last question."""
    return list(messages[_question_at(messages) + 1 :])


def before_turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The messages before the last question."""
    # Without a question all messages belong to the turn.
    return list(messages[: max(_question_at(messages), 0)])


def question_of(messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """The last question."""
    at = _question_at(messages)
    return messages[at] if at >= 0 else None


def rounds_of(messages: Sequence[BaseMessage]) -> list[list[Any]]:
    """The hand-offs of this turn, grouped by the message that requested them."""
    replies = (message for message in turn_of(messages) if isinstance(message, AIMessage))
    rounds = ([call for call in message.tool_calls if is_handoff(call["name"])] for message in replies)
    return [one for one in rounds if one]


def refused_of(messages: Sequence[BaseMessage]) -> set[str]:
    """The ids of the supervisor's calls in this turn that named no agent."""
    results = (message for message in turn_of(messages) if isinstance(message, ToolMessage))
    return {result.tool_call_id for result in results if REFUSED in result.additional_kwargs}


def call_count_of(messages: Sequence[BaseMessage]) -> int:
    """How many messages of this turn hold calls of the supervisor, to agents or not. Calls of agents do not count."""
    refused = refused_of(messages)
    replies = (message for message in turn_of(messages) if isinstance(message, AIMessage))
    return sum(any(is_handoff(call["name"]) or call["id"] in refused for call in one.tool_calls) for one in replies)


def results_of(messages: Sequence[BaseMessage]) -> dict[str, ToolMessage]:
    """The results of this turn's hand-offs by call id."""
    return {
        message.tool_call_id: message
        for message in turn_of(messages)
        if isinstance(message, ToolMessage) and is_handoff(message.name or "")
    }


def only_calls(
    messages: Sequence[BaseMessage], keep: Callable[[str], bool], *, ids: Collection[str] = ()
) -> list[BaseMessage]:
    """The conversation with only those tool calls that are in `ids` or whose name passes `keep`, and their results.

    An agent that sees calls of tools it does not have would make such calls too.
    """
    shown: list[BaseMessage] = []
    dropped: set[str | None] = set()
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            kept = [call for call in message.tool_calls if call["id"] in ids or keep(call["name"])]
            dropped |= {call["id"] for call in message.tool_calls if call not in kept}
            if len(kept) < len(message.tool_calls):
                # Only the text of the content, as some models repeat the calls in its blocks.
                message = AIMessage(message.text, tool_calls=kept, id=message.id)
            if not kept and not message.text:
                continue
        elif isinstance(message, ToolMessage) and message.tool_call_id in dropped:
            continue
        shown.append(message)
    return shown


def _question_at(messages: Sequence[BaseMessage]) -> int:
    places = (at for at in range(len(messages) - 1, -1, -1) if isinstance(messages[at], HumanMessage))
    return next(places, -1)
