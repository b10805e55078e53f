"""An agent of a supervisor: a whole graph as one node."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, GraphRecursionError
from langgraph.pregel import Pregel

from graph_agent.client_tools import NO_TOOLS, within_client_tools
from graph_agent.contract import PUBLIC_ERROR, NodeState
from graph_agent.errors import GraphFailed, RequestError, RunCancelled, RunError
from graph_agent.foreign_errors import describe_error, dev_traceback
from graph_agent.nodes.handoff import (
    before_turn,
    is_handoff,
    only_calls,
    question_of,
    results_of,
    rounds_of,
    target_of,
)
from graph_agent.nodes.node import Node
from graph_agent.nodes.supervisor import FAILURE

logger = logging.getLogger(__name__)


def make_agent(
    name: str, graph: Pregel[Any, Any, Any, Any], *, tool_filter: Callable[[str], bool] = lambda tool: True
) -> Node:
    """The node `name` that passes its turn to `graph`, a compiled graph with `messages` in its state.

    The graph sees the conversation without hand-offs. Of the calls in earlier turns it sees those whose tool passes
    `tool_filter`: a model that sees calls of a tool it does not have makes such calls too.

    An agent that has the turn alone sees the caller's own words, and its text is the answer. If it fails, the run
    fails. One of several agents sees its task and what the others have found. Its answer, or its error, becomes the
    result of its hand-off and is not streamed as text. It has none of the client's tools: the turn could not end on a
    call of one.
    """

    async def work(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        rounds = rounds_of(messages)
        calls = [call for call in (rounds[-1] if rounds else []) if target_of(call) == name]
        final = all(call["id"] in results_of(messages) for call in calls)
        shown = _shown(messages, calls if len(rounds) > 1 or not final else [], tool_filter)
        given = {"messages": shown, "sources": state.get("sources") or []}
        if final:
            with within_client_tools(NO_TOOLS):
                return _update(await graph.ainvoke(given, config), shown)
        # Not streamed: the supervisor writes the answer.
        quiet: RunnableConfig = {**config, "tags": [*config.get("tags", []), "nostream"]}
        try:
            with within_client_tools(NO_TOOLS):
                update = _update(await graph.ainvoke(given, quiet), shown)
        except (GraphBubbleUp, GraphRecursionError, RunCancelled, RequestError):
            # These end or interrupt the whole run, and are not failures of this agent.
            raise
        except RunError as error:
            logger.warning("agent %s failed: %s: %s", name, error.code, describe_error(error))
            return {"messages": [_failed(call, error) for call in calls]}
        except Exception as error:  # noqa: BLE001 - the graph is third-party code; the other agents' work must survive
            logger.error("agent %s failed: %s", name, describe_error(error), extra=dev_traceback(error))
            failure = GraphFailed(f"the agent {name!r} failed ({type(error).__name__})")
            return {"messages": [_failed(call, failure) for call in calls]}
        return update | {"messages": _handed_back(update["messages"], calls)}

    return work


def _shown(
    messages: Sequence[BaseMessage], calls: Sequence[Any], tool_filter: Callable[[str], bool]
) -> list[BaseMessage]:
    """The conversation as the agent sees it, with its task instead of the question if it has a task."""
    earlier = only_calls(before_turn(messages), lambda tool: not is_handoff(tool) and tool_filter(tool))
    question = question_of(messages)
    tasks = [str(call["args"]["task"]) for call in calls if call["args"].get("task")]
    if not tasks:
        return [*earlier, question] if question else earlier
    own = {call["id"] for call in calls}
    others = [one for call_id, one in results_of(messages).items() if call_id not in own and one.status != "error"]
    known = [f"- {result.content}" for result in others]
    task = "\n".join([*tasks, *(["\nKnown already:", *known] if known else [])])
    # A fixed id, so that it is the same when a node is resumed: `_update` recognizes it as not added by the graph.
    return [*earlier, HumanMessage(task, id=f"task_{calls[0]['id']}")]


def _update(result: dict[str, Any], given: Sequence[BaseMessage]) -> dict[str, Any]:
    """The part of the graph's final state that it added itself."""
    known = {message.id for message in given}
    update = {key: result[key] for key in ("sources", "custom_outputs") if result.get(key)}
    return update | {"messages": [message for message in result["messages"] if message.id not in known]}


def _handed_back(added: list[BaseMessage], calls: Sequence[Any]) -> list[BaseMessage]:
    """The agent's messages, with its answer as the result of the hand-off."""
    last = added[-1] if added else None
    if not isinstance(last, AIMessage) or last.tool_calls or not last.text.strip():
        silence = GraphFailed("the agent gave no answer")
        return [*added, *(_failed(call, silence) for call in calls)]
    results = [ToolMessage(last.text, name=call["name"], tool_call_id=call["id"]) for call in calls]
    return [*added[:-1], *results]


def _failed(call: Any, error: RunError) -> ToolMessage:
    marks = {PUBLIC_ERROR: True, FAILURE: error.code}
    return ToolMessage(
        error.message, name=call["name"], tool_call_id=call["id"], status="error", additional_kwargs=marks
    )
