"""The supervisor: the model decides which agent takes the turn, or combines the answers of several."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END

from graph_agent.contract import PUBLIC_ERROR, NodeState
from graph_agent.errors import GraphFailed, RunError
from graph_agent.nodes.citations import CheckedCitations
from graph_agent.nodes.handoff import (
    REFUSED,
    Handoff,
    call_count_of,
    expects_answer,
    is_handoff,
    only_calls,
    refused_of,
    results_of,
    rounds_of,
    target_of,
)
from graph_agent.nodes.history import History
from graph_agent.nodes.node import Node
from graph_agent.nodes.planner import answer_update, requested_calls, results_of_turn
from graph_agent.quick_routers import quick
from graph_agent.tool_call_policy import with_unique_ids

SUPERVISOR = "supervisor"
"""The name of the supervisor's node."""

ROUNDS = 3
"""How often a supervisor may hand off in one turn, calls of unknown agents included. Then it must answer."""

FAILURE = "graph_agent_failure"
"""Key in a hand-off result's `additional_kwargs`: the code of the agent's error."""


def make_supervisor(
    *,
    model: BaseChatModel,
    agents: Sequence[Handoff],
    prompt: str,
    require_tool_first: bool = False,
    rounds: int = ROUNDS,
    history: int | None = None,
) -> Node:
    """A node that asks `model` which of `agents` takes the turn. The node must be named `supervisor`.

    A single agent answers the caller itself, without a second model call. Several agents at the same time, or one that
    must hand back, return their answers to the supervisor, which continues. After `rounds` hand-offs in a turn it must
    answer. With `require_tool_first`, its first step is a hand-off, as small models tend to answer from memory. If all
    agents of a round failed, the run ends with the error of the first. `history` is as in `make_planner`.

    Raises, when run:
        GraphFailed: it had to answer, but the model called a tool again, and no agent has answered.
    """
    by_name = {agent.name: agent for agent in agents}
    tools = [agent.schema for agent in agents]

    seen = History(model, history)

    async def supervise(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        done = rounds_of(messages)
        if done and (failure := _failure_of_all(messages, done[-1])):
            raise failure
        sources = state.get("sources") or []
        checked = CheckedCitations(
            model=model, numbers=tuple(source.number for source in sources), sources=tuple(sources)
        )
        last = call_count_of(messages) >= rounds
        choice = "none" if last else "required" if require_tool_first and not done else None
        asked = checked.bind_tools(tools, **({"tool_choice": choice} if choice else {}))
        # Refused calls stay visible, as the model would otherwise repeat them.
        shown = only_calls(messages, is_handoff, ids=refused_of(messages))
        reply = await seen.ask(asked, prompt, shown)
        reply = with_unique_ids(reply, messages, config)
        if last and reply.tool_calls:
            # The endpoint ignored `none`. The agents' answers become the answer.
            reply = AIMessage(reply.text or _answers_of_agents(messages), id=reply.id)
            if not reply.text.strip():
                raise GraphFailed(
                    f"the supervisor's model neither answered nor called one of {', '.join(by_name)} in {rounds} "
                    "attempts: use a model that calls the tools it is given"
                )
        # An agent's answer may come from the passages, and is none of the results that count against them.
        results = [one for one in results_of_turn(messages) if not is_handoff(one.name or "")]
        update = answer_update(reply, sources, cites=True, results=results)
        if reply.tool_calls:
            update = {"messages": [reply, *_immediate_results(reply, by_name)], "custom_outputs": {}}
        if not done and (state.get("custom_outputs") or {}).get("warnings"):
            # Clears the warnings of an earlier turn. The agents of this turn add theirs.
            update["custom_outputs"]["warnings"] = []
        return update

    return supervise


@quick
def route_handoffs(state: NodeState) -> list[str]:
    """The router after the supervisor: to all agents it handed off to, or to the end if it answered."""
    calls = requested_calls([message for message in state["messages"] if isinstance(message, AIMessage)])
    if not calls:
        return [END]
    refused = {one.tool_call_id for one in results_of(state["messages"]).values() if one.status == "error"}
    targets = [target_of(call) for call in calls if is_handoff(call["name"]) and call["id"] not in refused]
    # Without targets all calls were refused: the supervisor tries again.
    return list(dict.fromkeys(targets)) or [SUPERVISOR]


@quick
def hand_back(state: NodeState) -> str:
    """The router after each agent: to the supervisor if it waits for the answer, else to the end."""
    last = state["messages"][-1]
    return SUPERVISOR if isinstance(last, ToolMessage) and is_handoff(last.name or "") else END


def _immediate_results(reply: AIMessage, by_name: dict[str, Handoff]) -> list[ToolMessage]:
    """The results of calls that no agent will answer: calls of unknown agents, and a final hand-off."""
    known = [call for call in reply.tool_calls if call["name"] in by_name]
    final = len({call["name"] for call in known}) == 1 and not any(map(expects_answer, known))
    results = []
    for call in reply.tool_calls:
        if call not in known:
            text = f"There is no agent behind {call['name']!r}; call one of {', '.join(by_name)}."
            marks = {PUBLIC_ERROR: True, REFUSED: True}
            results.append(
                ToolMessage(text, name=call["name"], tool_call_id=call["id"], status="error", additional_kwargs=marks)
            )
        elif final:
            results.append(
                ToolMessage(f"Transferred to {target_of(call)}.", name=call["name"], tool_call_id=call["id"])
            )
    return results


def _failure_of_all(messages: Sequence[BaseMessage], calls: Sequence[Any]) -> RunError | None:
    """The first agent's error if all agents failed, as the model would invent an answer."""
    results = results_of(messages)
    asked = [results[call["id"]] for call in calls if call["id"] in results]
    codes = [result.additional_kwargs.get(FAILURE) for result in asked]
    if not asked or None in codes:
        return None
    return _kinds_of(RunError).get(str(codes[0]), GraphFailed)(str(asked[0].content))


def _kinds_of(base: type[RunError]) -> dict[str, type[RunError]]:
    """All subclasses by their code. Of classes that share a code, the most general."""
    below: dict[str, type[RunError]] = {}
    for kind in base.__subclasses__():
        below |= {**_kinds_of(kind), kind.code: kind} | below
    return below


def _answers_of_agents(messages: Sequence[BaseMessage]) -> str:
    """The answers of this turn's agents."""
    return "\n\n".join(str(result.content) for result in results_of(messages).values() if result.status != "error")
