"""Asks a person before tools run: all calls of a turn in one interrupt, in the form of LangChain's middleware.

One interrupt, because a node runs again from its top when it is resumed. Two interrupts in one node would run what
stands between them twice.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import interrupt

from graph_agent.contract import PUBLIC_ERROR
from graph_agent.errors import ConfigurationError, GraphFailed
from graph_agent.redaction import redact
from graph_agent.tool_schemas import schema_of

Approve = Collection[str] | Callable[[Mapping[str, Any]], bool]
"""Which calls need a person's decision: those of these tools, or those for which the function returns true. It gets a
call with `name`, `args` and `id`, and must say the same about the same call each time."""

DECISIONS = ("approve", "edit", "reject", "respond")

REJECTED = "The user rejected this call of {name}{reason}. It was not made. Do not make it again unless the user asks."

EDITED = "The user changed the arguments of this call before it was made. It was made with {arguments}."


@dataclass(frozen=True, slots=True)
class Reviewed:
    """One call after the person's decision."""

    call: Any
    """The call to make."""

    answer: ToolMessage | None = None
    """The result that stands for the call, if it is not made."""

    edited: bool = False

    def told(self, result: ToolMessage) -> ToolMessage:
        """The result, with what the person changed: the model sees its own call only."""
        if not self.edited or not isinstance(result.content, str):
            return result
        notice = redact(EDITED.format(arguments=json.dumps(self.call["args"], ensure_ascii=False, default=str)))
        return result.model_copy(update={"content": f"{notice}\n\n{result.content}"})


def needs_decision(approve: Approve, call: Mapping[str, Any]) -> bool:
    """Whether a person must decide about the call."""
    return bool(approve(call)) if callable(approve) else call["name"] in approve


def check_names(approve: Approve, tools: Sequence[object]) -> None:
    """A misspelled name would let a tool run unasked.

    Raises:
        ConfigurationError: there is no such tool.
    """
    names = [tool.name for tool in tools if isinstance(tool, BaseTool)]
    # The names of a tool source's tools are not known yet.
    if callable(approve) or isinstance(approve, str) or len(names) < len(tools):
        if isinstance(approve, str):
            raise ConfigurationError("approve takes several names, such as ['send_mail']")
        return
    if unknown := sorted(set(approve) - set(names)):
        raise ConfigurationError(f"approve names tools that are not among the tools: {', '.join(unknown)}")


def reviewed(calls: Sequence[Any], approve: Approve, tools: Mapping[str, BaseTool]) -> list[Reviewed]:
    """The calls after a person's decisions. The graph waits here until there are some, if it must."""
    asked = [call for call in calls if needs_decision(approve, call)]
    if not asked:
        return [Reviewed(call) for call in calls]
    answer = interrupt(
        {
            "action_requests": [_request(call, tools) for call in asked],
            "review_configs": [_review(call, tools) for call in asked],
        }
    )
    given = iter(_decisions_in(answer, len(asked)))
    return [_after(call, next(given)) if call in asked else Reviewed(call) for call in calls]


def _request(call: Any, tools: Mapping[str, BaseTool]) -> dict[str, Any]:
    request = {"name": call["name"], "args": call["args"]}
    tool = tools.get(call["name"])
    return request if tool is None else request | {"description": tool.description}


def _review(call: Any, tools: Mapping[str, BaseTool]) -> dict[str, Any]:
    review = {"action_name": call["name"], "allowed_decisions": list(DECISIONS)}
    tool = tools.get(call["name"])
    schema = None if tool is None else schema_of(tool)
    return review if schema is None else review | {"args_schema": schema}


def _decisions_in(answer: Any, count: int) -> list[Any]:
    given = answer.get("decisions") if isinstance(answer, Mapping) else None
    if not isinstance(given, list) or len(given) != count or not all(map(_is_decision, given)):
        raise GraphFailed(
            f'the graph was resumed with something else than {count} decisions: resume it with {{"decisions": [...]}}, '
            f"one for each call, each with a type out of {', '.join(DECISIONS)}"
        )
    return given


def _is_decision(value: Any) -> bool:
    match value:
        case {"type": "approve" | "reject"} | {"type": "respond", "message": str()}:
            return True
        case {"type": "edit", "edited_action": {"args": dict()}}:
            return True
    return False


def _after(call: Any, decision: Mapping[str, Any]) -> Reviewed:
    match decision["type"]:
        case "reject":
            reason = decision.get("message")
            text = REJECTED.format(name=call["name"], reason=f" and said: {reason}" if reason else "")
            return Reviewed(call, _result(call, text, status="error", additional_kwargs={PUBLIC_ERROR: redact(text)}))
        case "respond":
            return Reviewed(call, _result(call, decision["message"]))
        case "edit":
            # Its name is not read: a decision changes arguments, not which tool runs.
            return Reviewed({**call, "args": decision["edited_action"]["args"]}, edited=True)
    return Reviewed(call)


def _result(call: Any, text: str, **more: Any) -> ToolMessage:
    return ToolMessage(redact(text), tool_call_id=call["id"], name=call["name"], **more)
