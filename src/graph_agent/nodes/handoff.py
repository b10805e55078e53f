"""Hand-offs: the tools by which a supervisor passes a turn to an agent, and how they are read back.

A hand-off whose call has a result at once is *final*: the agent answers the caller itself. Any other is answered by
its agent's answer, and the supervisor goes on.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from graph_agent.errors import ConfigurationError

PREFIX = "transfer_to_"
"""What names of hand-off tools begin with, as in `langgraph-supervisor`."""

REFUSED = "graph_agent_refused"
"""Key in a result's `additional_kwargs`: the supervisor called what is no agent."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,50}")
"""Model endpoints take tool names of at most 64 such characters."""


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """A tool that passes the turn to the agent `to`, the name of its node.

    Raises:
        ConfigurationError: no tool can be named after that node.
    """

    to: str
    description: str
    """What the agent is for."""

    example: str
    """A task as a model should write it; small models need one."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.to):
            raise ConfigurationError(
                f"the agent {self.to!r} cannot be handed to: name its node with at most 50 letters, digits, _ or -"
            )

    @property
    def name(self) -> str:
        """The tool's name."""
        return PREFIX + self.to

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as a chat model is told of it."""
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
    """Whether a tool of that name passes the turn on."""
    return name.startswith(PREFIX)


def target_of(call: Any) -> str:
    """The agent a hand-off passes the turn to."""
    return str(call["name"]).removeprefix(PREFIX)


def expects_answer(call: Any) -> bool:
    """Whether the supervisor goes on after this hand-off."""
    return str(call["args"].get("hand_back", "")).lower() == "true"


def turn_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What came after the last question."""
    return list(messages[_question_at(messages) + 1 :])


def before_turn(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What came before the last question."""
    return list(messages[: max(_question_at(messages), 0)])


def question_of(messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """The last question."""
    at = _question_at(messages)
    return messages[at] if at >= 0 else None


def rounds_of(messages: Sequence[BaseMessage]) -> list[list[Any]]:
    """The hand-offs of this turn, those the supervisor asked for at once together."""
    said = (message for message in turn_of(messages) if isinstance(message, AIMessage))
    rounds = ([call for call in message.tool_calls if is_handoff(call["name"])] for message in said)
    return [one for one in rounds if one]


def refused_of(messages: Sequence[BaseMessage]) -> set[str]:
    """Ids of this turn's calls of the supervisor that no agent is behind."""
    results = (message for message in turn_of(messages) if isinstance(message, ToolMessage))
    return {result.tool_call_id for result in results if REFUSED in result.additional_kwargs}


def call_count_of(messages: Sequence[BaseMessage]) -> int:
    """How often the supervisor called anything in this turn, agents or not. What agents call is not counted."""
    refused = refused_of(messages)
    said = (message for message in turn_of(messages) if isinstance(message, AIMessage))
    return sum(any(is_handoff(call["name"]) or call["id"] in refused for call in one.tool_calls) for one in said)


def results_of(messages: Sequence[BaseMessage]) -> dict[str, ToolMessage]:
    """Results of this turn's hand-offs by the id of the call."""
    return {
        message.tool_call_id: message
        for message in turn_of(messages)
        if isinstance(message, ToolMessage) and is_handoff(message.name or "")
    }


def only_calls(
    messages: Sequence[BaseMessage], keep: Callable[[str], bool], *, ids: Collection[str] = ()
) -> list[BaseMessage]:
    """The conversation with no tool calls but those of `ids` and those whose name is to be kept, each with its result.

    An agent shown calls of tools it does not have would call them too.
    """
    shown: list[BaseMessage] = []
    dropped: set[str | None] = set()
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            kept = [call for call in message.tool_calls if call["id"] in ids or keep(call["name"])]
            dropped |= {call["id"] for call in message.tool_calls if call not in kept}
            if len(kept) < len(message.tool_calls):
                # Some models repeat calls in the content's blocks: the text alone is kept.
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
