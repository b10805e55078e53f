"""The tools node: runs the planner's tool calls concurrently."""

import asyncio
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.errors import GraphBubbleUp

from graph_agent.client_tools import (
    ServedCall,
    current_client_tools,
    is_marked_as_served,
    runs_served_tools,
    served_call_in,
)
from graph_agent.contract import PUBLIC_ERROR, NodeState, ToolSource
from graph_agent.errors import RequestError, ToolFailed
from graph_agent.foreign_errors import is_argument_error
from graph_agent.nodes.approvals import Approve, Reviewed, check_names, needs_decision, reviewed
from graph_agent.nodes.concurrency import gather_or_cancel
from graph_agent.nodes.node import Node
from graph_agent.nodes.planner import requested_calls
from graph_agent.nodes.result_redaction import without_secrets
from graph_agent.nodes.tool_errors import FAULT, MISTAKE, TOOL_FAULT, wrong_arguments
from graph_agent.nodes.tool_sources import available_tools
from graph_agent.redaction import redact, redact_async
from graph_agent.tool_call_policy import NotRun

logger = logging.getLogger(__name__)

CALL_SECONDS = 60.0
"""The longest time of one call, unless the graph says otherwise."""


def make_tools(
    tools: Sequence[BaseTool | ToolSource],
    *,
    skip: Sequence[str] = (),
    approve: Approve = (),
    seconds: float = CALL_SECONDS,
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

    The calls of MCP servers that the client names are run here, too. The request says which of them a person must
    approve.
    """
    own = {tool.name: tool for tool in tools if isinstance(tool, BaseTool)}
    check_names(approve, tools)

    async def use_tools(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        calls = [call for call in requested_calls(state["messages"]) if call["name"] not in skip]
        by_name, missing, asks = own, "", approve
        if any(call["name"] not in own and not is_marked_as_served(state["messages"][-1], call) for call in calls):
            listed = await available_tools(tools)
            by_name, missing = {tool.name: tool for tool in listed.tools}, " ".join(["", *listed.warnings])
        served = served_calls(state["messages"][-1], calls, own=by_name) if calls else {}
        if served:
            by_name, asks = {**by_name, **tools_of_servers(calls, served)}, asks_first(served, approve)
        to_make = reviewed(calls, asks, by_name)
        results = await gather_or_cancel(
            _result(by_name, one, config, seconds, missing, served.get(one.call["id"])) for one in to_make
        )
        return {"messages": results}

    return runs_served_tools(use_tools)


def served_calls(message: Any, calls: Sequence[Any], *, own: Container[str] = ()) -> dict[str, ServedCall]:
    """Those of the calls of a message that are for tools of MCP servers which the client names, by their ids. `own` are
    the names of the graph's tools: a call of one that waited for a decision stays the graph's, whatever servers the
    next request names."""
    tools = current_client_tools().served
    return {
        call["id"]: one
        for call in calls
        if (one := served_call_in(message, call, {} if call["name"] in own else tools)) is not None
    }


def tools_of_servers(calls: Sequence[Any], served: Mapping[str, ServedCall]) -> dict[str, BaseTool]:
    """The tools of the MCP servers of this request that those calls are for, by the names in the calls."""
    client = current_client_tools()
    found = {call["name"]: client.tool_of(served[call["id"]]) for call in calls if call["id"] in served}
    return {name: one.tool for name, one in found.items() if one is not None}


def asks_first(served: Mapping[str, ServedCall], approve: Approve) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a person must decide about a call: what the request says of the tools of its servers, and else
    `approve`."""

    def asks(call: Mapping[str, Any]) -> bool:
        one = served.get(call["id"])
        return one.asks if one is not None else needs_decision(approve, call)

    return asks


async def _result(
    by_name: Mapping[str, BaseTool],
    one: Reviewed,
    config: RunnableConfig,
    seconds: float,
    missing: str,
    served: ServedCall | None,
) -> ToolMessage:
    return one.answer or one.told(await use_tool(by_name, one.call, config, seconds, missing, served=served))


async def use_tool(
    by_name: Mapping[str, BaseTool],
    call: Any,
    config: RunnableConfig,
    seconds: float,
    missing: str = "",
    *,
    served: ServedCall | None = None,
) -> ToolMessage:
    """The result of a call, also of one that fails. `missing` says which tools are not there, and why. `served` is the
    tool of an MCP server of the client, if the call is for one.

    Raises:
        RequestError: the caller has to fix it.
    """
    if served is not None:
        asked = current_client_tools().tool_of(served)
        tool: BaseTool | None = None if asked is None else asked.tool
    else:
        tool = by_name.get(call["name"])
    if tool is None and served is not None:
        return _error(call, _why_not_served(served), FAULT)
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


def _why_not_served(call: ServedCall) -> str:
    """Why a tool of an MCP server of the client is not there in this run."""
    client = current_client_tools()
    named = [server.url for server in client.servers if server.label == call.label]
    if named and call.url not in named:
        return (
            f"The call was not made: {call.label} is a server at another address in this request. Send the "
            "`server_url` of the request that led to the call, or give the other server another label."
        )
    if (why := client.missing.get(call.label)) is not None:
        return why
    if named:
        return f"The server {call.label} does not offer the tool {call.name} now."
    return (
        f"The call was not made: `tools` of the request lacks the server {call.label}. Send it with each request that "
        "goes on with its calls, its credentials included, because they are not stored."
    )


def _error(call: Any, text: str, meaning: str = "", *, public: bool = True) -> ToolMessage:
    """The result of a failed call. The model gets `text` with its `meaning`, the caller only `text` if it is public."""
    marks: dict[str, Any] = {PUBLIC_ERROR: redact(text)} if public else {}
    if meaning == FAULT:
        marks[TOOL_FAULT] = True
    content = redact(f"{text}\n{meaning}".rstrip())
    return ToolMessage(content, tool_call_id=call["id"], name=call["name"], status="error", additional_kwargs=marks)
