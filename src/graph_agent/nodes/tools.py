"""The tools node: runs the planner's tool calls concurrently."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp

from graph_agent.contract import PUBLIC_ERROR, NodeState, ToolSource
from graph_agent.errors import RequestError, ToolFailed
from graph_agent.foreign_errors import is_argument_error
from graph_agent.nodes.approvals import Approve, Reviewed, check_names, reviewed
from graph_agent.nodes.concurrency import gather_or_cancel
from graph_agent.nodes.node import Node
from graph_agent.nodes.planner import requested_calls
from graph_agent.nodes.result_redaction import without_secrets
from graph_agent.nodes.tool_errors import FAULT, MISTAKE, TOOL_FAULT, wrong_arguments
from graph_agent.nodes.tool_sources import available_tools
from graph_agent.redaction import redact, redact_async
from graph_agent.tool_call_policy import NotRun

logger = logging.getLogger(__name__)


def make_tools(
    tools: Sequence[BaseTool | ToolSource],
    *,
    skip: Sequence[str] = (),
    approve: Approve = (),
    seconds: float = 60.0,
) -> Node:
    """A node that runs the planner's calls of `tools`, each for at most `seconds`.

    `skip` names tools that another node handles. Tool sources among `tools` are asked only for tools that are not among
    the others.

    `approve` names the tools that a person must approve, or is a function of a call. The node asks for all such calls
    of a turn at once, before it runs any tool, and the person may approve, edit, reject or answer each.

    A failed tool becomes a tool message with `status="error"`. Its text says that this is a fault and not a result, as
    models do not see the status. The model sees the message of a `ToolException`, which is meant for it, and only the
    type of any other exception, whose message may contain a secret. A tool that needs the user's token when there is
    none ends the run with `Unauthenticated`.

    Markers replace secrets in a result before it enters the state, so that neither the model nor a checkpoint gets
    them.
    """
    own = {tool.name: tool for tool in tools if isinstance(tool, BaseTool)}
    check_names(approve, tools)

    async def use_tools(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        calls = [call for call in requested_calls(state["messages"]) if call["name"] not in skip]
        by_name, missing = own, ""
        if any(call["name"] not in own for call in calls):
            listed = await available_tools(tools)
            by_name, missing = {tool.name: tool for tool in listed.tools}, " ".join(["", *listed.warnings])
        to_make = reviewed(calls, approve, by_name)
        results = await gather_or_cancel(_result(by_name, one, config, seconds, missing) for one in to_make)
        return {"messages": results}

    return use_tools


async def _result(
    by_name: dict[str, BaseTool], one: Reviewed, config: RunnableConfig, seconds: float, missing: str
) -> ToolMessage:
    return one.answer or one.told(await _use(by_name, one.call, config, seconds, missing))


async def _use(
    by_name: dict[str, BaseTool], call: Any, config: RunnableConfig, seconds: float, missing: str
) -> ToolMessage:
    tool = by_name.get(call["name"])
    if tool is None:
        text = f"There is no tool named {call['name']!r}; there are: {', '.join(by_name)}.{missing}"
        return _error(call, text, FAULT if missing else "")
    try:
        async with asyncio.timeout(seconds) as limit:
            result = await tool.ainvoke({**call, "type": "tool_call"}, config)
    except (RequestError, GraphBubbleUp):
        # The caller has to fix the first, mostly by signing in. The second is no error: the tool called `interrupt()`.
        raise
    except NotRun as error:
        return _error(call, error.message)
    except ToolFailed as error:
        return _error(call, f"{tool.name}: {error.message}", FAULT)
    except ToolException as error:
        return _error(call, f"{tool.name}: {error}", public=False)
    except Exception as error:  # noqa: BLE001 - a tool is third-party code, and its failure is a result for the model
        # Not `except TimeoutError`: the tool may raise one itself, or replace ours.
        if limit.expired():
            logger.warning("tool %s did not finish within %g s", tool.name, seconds)
            return _error(call, f"{tool.name} did not finish within {seconds:g} s.", FAULT)
        if is_argument_error(error):
            text = f"{tool.name} was called with wrong arguments: {wrong_arguments(error)}."
            return _error(call, text, MISTAKE, public=False)
        return _error(call, f"{tool.name} failed ({type(error).__name__}).", FAULT)
    if not isinstance(result, ToolMessage):
        return ToolMessage(await redact_async(str(result)), tool_call_id=call["id"], name=tool.name)
    return await without_secrets(result)


def _error(call: Any, text: str, meaning: str = "", *, public: bool = True) -> ToolMessage:
    """The result of a failed call. The model gets `text` with its `meaning`, the caller only `text` if it is public."""
    marks: dict[str, Any] = {PUBLIC_ERROR: redact(text)} if public else {}
    if meaning == FAULT:
        marks[TOOL_FAULT] = True
    content = redact(f"{text}\n{meaning}".rstrip())
    return ToolMessage(content, tool_call_id=call["id"], name=call["name"], status="error", additional_kwargs=marks)
