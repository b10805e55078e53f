"""The supervisor: the model decides which agent takes the turn, or puts together what several have answered."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END

from graph_agent.contract import PUBLIC_ERROR, AgentState
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
from graph_agent.nodes.planner import answer_update, requested_calls
from graph_agent.tool_call_policy import with_unique_ids

Node = Callable[[AgentState, RunnableConfig], Awaitable[dict[str, Any]]]

SUPERVISOR = "supervisor"
"""The name of the supervisor's node."""

ROUNDS = 3
"""How often a supervisor may hand off in one turn, attempts to hand to nobody included; then it must answer."""

FAILURE = "graph_agent_failure"
"""Key in a hand-off result's `additional_kwargs`: the code of the error its agent ended with."""


def make_supervisor(
    *,
    model: BaseChatModel,
    agents: Sequence[Handoff],
    prompt: str,
    require_tool_first: bool = False,
    rounds: int = ROUNDS,
) -> Node:
    """A node that asks `model` which of `agents` takes the turn; its node must be named `supervisor`.

    One agent alone answers the caller itself, without a second model call. Several at once, or one that is to hand
    back, tell the supervisor their answers, and it goes on; after `rounds` hand-offs of a turn it must answer. With
    `require_tool_first`, its first move is a hand-off: a small model would rather answer from memory. Where all agents
    it asked at once failed, the run ends with the error of the first.

    Raises, when run:
        GraphFailed: it was to answer, but the model called again, and no agent has said anything.
    """
    by_name = {agent.name: agent for agent in agents}
    tools = [agent.schema for agent in agents]

    async def supervise(state: AgentState, config: RunnableConfig) -> dict[str, Any]:
        messages = state["messages"]
        done = rounds_of(messages)
        if done and (failure := _failure_of_all(messages, done[-1])):
            raise failure
        sources = state.get("sources") or []
        checked = CheckedCitations(model=model, numbers=tuple(source.number for source in sources))
        last = call_count_of(messages) >= rounds
        choice = "none" if last else "required" if require_tool_first and not done else None
        asked = checked.bind_tools(tools, **({"tool_choice": choice} if choice else {}))
        # With what it called in vain: unaware of the refusal it would call the same again.
        shown = only_calls(messages, is_handoff, ids=refused_of(messages))
        said = await asked.ainvoke([SystemMessage(prompt), *shown])
        said = with_unique_ids(said, messages, config)
        if last and said.tool_calls:
            # An endpoint that heeds no `none`: what the agents said is the answer then.
            said = AIMessage(said.text or _told(messages), id=said.id)
            if not said.text.strip():
                raise GraphFailed(
                    f"the supervisor's model neither answered nor called one of {', '.join(by_name)} in {rounds} "
                    "attempts: use a model that calls the tools it is given"
                )
        update = answer_update(said, sources, cites=True)
        if said.tool_calls:
            update = {"messages": [said, *_results_at_once(said, by_name)], "custom_outputs": {}}
        if not done and (state.get("custom_outputs") or {}).get("warnings"):
            # Those of an earlier turn of the conversation must not outlive it; agents add their own.
            update["custom_outputs"]["warnings"] = []
        return update

    return supervise


def route_handoffs(state: AgentState) -> list[str]:
    """The router behind the supervisor: the agents it handed off to, all at once; the end if it answered."""
    calls = requested_calls([message for message in state["messages"] if isinstance(message, AIMessage)])
    if not calls:
        return [END]
    refused = {one.tool_call_id for one in results_of(state["messages"]).values() if one.status == "error"}
    targets = [target_of(call) for call in calls if is_handoff(call["name"]) and call["id"] not in refused]
    return list(dict.fromkeys(targets)) or [SUPERVISOR]


def hand_back(state: AgentState) -> str:
    """The router behind each agent: the supervisor if it waits for the answer, else the end."""
    last = state["messages"][-1]
    return SUPERVISOR if isinstance(last, ToolMessage) and is_handoff(last.name or "") else END


def _results_at_once(said: AIMessage, by_name: dict[str, Handoff]) -> list[ToolMessage]:
    """Results of calls that no agent will answer: those of no agent there is, and a final hand-off."""
    known = [call for call in said.tool_calls if call["name"] in by_name]
    final = len({call["name"] for call in known}) == 1 and not any(map(expects_answer, known))
    results = []
    for call in said.tool_calls:
        if call not in known:
            there_are = f"There is no agent behind {call['name']!r}; call one of {', '.join(by_name)}."
            marks = {PUBLIC_ERROR: True, REFUSED: True}
            results.append(
                ToolMessage(
                    there_are, name=call["name"], tool_call_id=call["id"], status="error", additional_kwargs=marks
                )
            )
        elif final:
            results.append(
                ToolMessage(f"Transferred to {target_of(call)}.", name=call["name"], tool_call_id=call["id"])
            )
    return results


def _failure_of_all(messages: Sequence[BaseMessage], calls: Sequence[Any]) -> RunError | None:
    """The first agent's error, if every one that was asked failed: an answer would be invented."""
    results = results_of(messages)
    asked = [results[call["id"]] for call in calls if call["id"] in results]
    codes = [result.additional_kwargs.get(FAILURE) for result in asked]
    if not asked or None in codes:
        return None
    return _kinds_of(RunError).get(str(codes[0]), GraphFailed)(str(asked[0].content))


def _kinds_of(base: type[RunError]) -> dict[str, type[RunError]]:
    """Every kind below it by its code; of kinds that share one, the most general."""
    below: dict[str, type[RunError]] = {}
    for kind in base.__subclasses__():
        below |= {**_kinds_of(kind), kind.code: kind} | below
    return below


def _told(messages: Sequence[BaseMessage]) -> str:
    """What the agents of this turn answered."""
    return "\n\n".join(str(result.content) for result in results_of(messages).values() if result.status != "error")
