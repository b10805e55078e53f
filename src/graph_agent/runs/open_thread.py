"""Prepares a graph to continue a stored conversation: what it starts with, and where it writes."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langgraph.channels.base import BaseChannel
from langgraph.channels.binop import BinaryOperatorAggregate
from langgraph.channels.delta import DeltaChannel
from langgraph.channels.last_value import LastValue
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.pregel import Pregel
from langgraph.types import Command, Overwrite

from graph_agent.client_tools import MARK, client_call_in, open_client_calls, served_call_in
from graph_agent.contract import append_sources, merge_outputs
from graph_agent.known_messages import NONE_KNOWN, KnownMessages
from graph_agent.message_channel import MessagesChannel
from graph_agent.protocol.approvals import Decision
from graph_agent.protocol.events import new_id
from graph_agent.protocol.final_state import all_messages, messages_in, written_as_json
from graph_agent.protocol.interrupts import INTERRUPT, PendingInterrupt
from graph_agent.protocol.json_decoding import decode
from graph_agent.protocol.tool_call_items import ResumedCall
from graph_agent.runs.instructions import MESSAGES, is_instructable, with_instructions
from graph_agent.runs.request import Answers, Turn
from graph_agent.runs.run_saver import UNFINISHED, RunSaver

NO_RESULT = "No result of this call was recorded: the run ended before the tool returned."

PER_RUN = (append_sources, merge_outputs)
"""Reducers of `AgentState` for what belongs to one run: every run starts without the sources and outputs of others."""

Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenThread:
    """A graph at the place in its thread where a run starts."""

    graph: Graph
    """A copy of the graph that writes to the thread."""

    messages: Sequence[BaseMessage]
    """The input of the graph."""

    replaces: bool
    """Whether they take the place of the messages in the graph's state."""

    told: Sequence[BaseMessage]
    """The instructions and messages of this run."""

    history: Sequence[BaseMessage]
    """What the graph's state holds besides, or shows as if it did."""

    known: KnownMessages
    """What is known of the history."""

    config: Mapping[str, Any]
    """For the graph's config."""

    command: Command[Any] | None = None
    """What the graph is resumed with, before it gets the messages. After a stop between two steps, it holds them."""

    calls: Sequence[ResumedCall] = ()
    """The tool calls that wait for their results."""

    pending: Sequence[PendingInterrupt] | None = None
    """What the graph waits for, if that is not what was answered: an earlier attempt has resumed it already."""


def replacing(graph: Graph, messages: Sequence[BaseMessage]) -> Any:
    """The input of a graph with which these messages take the place of those in its state."""
    # The input replaces the value of any other channel.
    has_reducer = isinstance(graph.channels.get(MESSAGES), BinaryOperatorAggregate | DeltaChannel)
    return {MESSAGES: Overwrite(list(messages))} if has_reducer else messages


def keeps_messages(graph: Graph) -> bool:
    """Whether the graph finds the messages of earlier turns in its state.

    A graph of the functional API has no state. It knows its previous result if its function takes `previous`.
    """
    if MESSAGES in graph.channels:
        return True
    # LangGraph records what a function takes besides its input; there is no public way to ask.
    return any("previous" in getattr(node.bound, "func_accepts", ()) for node in graph.nodes.values())


async def open_thread(
    graph: Graph,
    saver: RunSaver,
    *,
    run_id: str,
    messages: Sequence[BaseMessage],
    instructions: str | None,
    unfinished: Mapping[str, str],
    turn: Turn | None = None,
) -> OpenThread:
    """Read the state from which a run continues, and prepare a copy of the graph. For `unfinished` see `Turn`.

    Raises:
        ResponseNotFound: the state does not exist any more.
        StoreUnavailable: the database does not answer.
    """
    answers = None if turn is None else turn.answers
    # A graph that is resumed goes on with what it has gathered in this run.
    goes_on = turn is not None and turn.goes_on
    saved = await saver.open(
        forgotten=() if answers is not None or goes_on else _per_run(graph.channels), forks=goes_on
    )
    channel = graph.channels.get(MESSAGES)
    history = [] if saved is None else await _messages_of(saved, channel, saver)
    known = saver.known_of_recent_messages() or KnownMessages(history)
    channels = graph.channels
    if isinstance(channel, MessagesChannel):
        values = {} if saved is None else saved.checkpoint["channel_values"]
        found = channel.from_checkpoint(values.get(MESSAGES, [])).get()
        # A state may hold messages in other forms too.
        same = len(found) == len(history) and all(map(is_, found, history))
        saver.follows(channel, found, known if same else None)
        if same:
            channels = {**channels, MESSAGES: channel.knowing(found, known)}
    resumed = _Resumed()
    if turn is not None and answers is not None and saved is not None:
        resumed = _resumed(turn, answers, saved, history)
    elif goes_on:
        # Its last step is complete, so no call waits for its result.
        resumed = _Resumed()
    elif turn is not None and turn.replaces:
        history, known = [], NONE_KNOWN
    else:
        messages = [*_results_of_unanswered(history, messages), *_added_texts(known, unfinished), *messages]
        resumed = _Resumed(calls=_asked_again(turn, history, messages))
    told = messages
    if isinstance(graph.channels.get(MESSAGES), LastValue) and answers is None:
        # The input replaces the value of a channel without a reducer.
        messages = [*history, *messages]
    # Not `graph.copy()`, which forgets attributes that are set after construction, and validates the graph again.
    continued = copy.copy(graph)
    continued.checkpointer = saver
    continued.channels = channels
    if instructions:
        message = SystemMessage(instructions, id=new_id("msg"))
        told = [message, *told]
        saver.hide(message)
        if is_instructable(graph.channels):
            continued.channels = with_instructions(channels, message)
            history, known = [message, *history], known.behind(message)
        else:
            messages = [message, *messages]
    command = resumed.command
    if goes_on:
        command = Command(update={MESSAGES: list(messages)})
    return OpenThread(
        graph=continued,
        messages=messages,
        replaces=turn is not None and turn.replaces,
        told=told,
        history=history,
        known=known,
        # The id of the run says whose a checkpoint is.
        config={"configurable": dict(saver.configurable), "metadata": {"run_id": run_id}},
        command=command,
        calls=resumed.calls,
        pending=resumed.pending,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resumed:
    """How a graph is resumed."""

    command: Command[Any] | None = None
    calls: Sequence[ResumedCall] = ()
    pending: Sequence[PendingInterrupt] | None = None


def _resumed(turn: Turn, answers: Answers, saved: CheckpointTuple, history: Sequence[BaseMessage]) -> _Resumed:
    waits = pending_in(saved)
    values = {one: value for one, value in answers.resume.items() if one in waits}
    if not values and waits:
        # An attempt that died has resumed the graph, and it has asked something else. An answer to an earlier question
        # would be taken for one to this.
        return _Resumed(pending=list(waits.values()))
    # Without anything to wait for, the graph only has to go on.
    command: Command[Any] = Command(resume=values)
    # An attempt that died may have resumed the graph already. Then nothing waits, and all answers count.
    return _Resumed(command=command, calls=_resumed_calls(turn, answers, saved, history, values or answers.resume))


def pending_in(saved: CheckpointTuple) -> dict[str, PendingInterrupt]:
    """The interrupts of a checkpoint that wait for an answer, by their ids."""
    asked: dict[str, Sequence[Any]] = {}
    done: set[str] = set()
    for task, channel, value in saved.pending_writes or ():
        if channel == INTERRUPT:
            asked[task] = value if isinstance(value, list | tuple) else [value]
        elif channel not in UNFINISHED:
            done.add(task)
    return {
        one.id: PendingInterrupt(one.id, one.value, schema=one.response_schema)
        for task, interrupts in asked.items()
        if task not in done
        for one in interrupts
    }


def _resumed_calls(
    turn: Turn, answers: Answers, saved: CheckpointTuple, history: Sequence[BaseMessage], values: Mapping[str, Any]
) -> list[ResumedCall]:
    """The calls of which the results come in this run. Those that still wait for a decision are not among them."""
    approvals = {one.call: one for one in answers.waiting if one.call is not None}
    written = [value for _, channel, value in saved.pending_writes or () if channel == MESSAGES]
    answered = {one.tool_call_id for one in [*history, *messages_in(written)] if isinstance(one, ToolMessage)}
    last = next((one for one in reversed(history) if isinstance(one, AIMessage)), None)
    calls = {call["id"] or "": (call["name"], call["args"]) for call in (last.tool_calls if last is not None else ())}
    # Those of a graph within the graph are not in its state yet.
    for id_, one in approvals.items():
        calls.setdefault(id_, (one.name, decode(one.arguments)))
    found = []
    for call_id, (name, args) in calls.items():
        approval = approvals.get(call_id)
        if call_id in answered or (approval is not None and approval.interrupt not in values):
            continue
        decision = None if approval is None else answers.decisions[approval.id]
        found.append(
            ResumedCall(
                provider_id=call_id,
                call_id=call_id if approval is None else approval.id,
                name=name,
                args=args if decision is None or decision.arguments is None else dict(decision.arguments),
                sent=approval is not None or call_id in turn.sent_calls,
                approval=None if approval is None else approval.id,
                decided=decision is not None and decision.kind in ("reject", "respond"),
                client=None if last is None else client_call_in(last, {"id": call_id, "name": name}, {}),
                served=None if last is None else served_call_in(last, {"id": call_id, "name": name}, {}),
            )
        )
    return found


def _asked_again(
    turn: Turn | None, history: Sequence[BaseMessage], messages: Sequence[BaseMessage]
) -> list[ResumedCall]:
    """The client's calls that it has not answered yet, if it has answered others."""
    if turn is None or not turn.sent_calls:
        return []
    before = [*history, *messages]
    asking = next((one for one in reversed(history) if isinstance(one, AIMessage) and one.tool_calls), None)
    return [
        ResumedCall(
            provider_id=call["id"],
            call_id=call["id"],
            name=call["name"],
            args=call["args"],
            sent=True,
            client=client,
        )
        for call in open_client_calls(before)
        if asking is not None and (client := client_call_in(asking, call, {})) is not None
    ]


def _per_run(channels: Mapping[str, Any]) -> list[str]:
    return [name for name, channel in channels.items() if _reducer(channel) in PER_RUN]


def _reducer(channel: Any) -> Any:
    return getattr(channel, "operator", None) or getattr(channel, "reducer", None)


async def _messages_of(saved: CheckpointTuple, channel: Any, saver: RunSaver) -> list[BaseMessage]:
    values = saved.checkpoint["channel_values"]
    if isinstance(channel, DeltaChannel) and MESSAGES not in values:
        # As a snapshot, so that LangGraph neither reads nor replays the same history again.
        recent = saver.recent_messages() if isinstance(channel, MessagesChannel) else None
        values[MESSAGES] = _DeltaSnapshot(await _replayed(saved, channel, saver) if recent is None else recent)
    if isinstance(channel, BaseChannel) and MESSAGES in values:
        return all_messages(channel.from_checkpoint(values[MESSAGES]).get())
    return []


async def _replayed(saved: CheckpointTuple, channel: DeltaChannel[Any], saver: RunSaver) -> Any:
    """The value of a channel of which the checkpoint holds only what was added."""
    if MESSAGES not in saved.checkpoint["channel_versions"]:
        return []
    histories = await saver.aget_delta_channel_history(config=saved.config, channels=[MESSAGES])
    history = histories[MESSAGES]
    if "seed" in history:
        replayed = channel.from_checkpoint(history["seed"])
    else:
        replayed = channel.copy()
        replayed.value = channel.typ()
    replayed.replay_writes(history["writes"])
    return replayed.get()


def _added_texts(known: KnownMessages, unfinished: Mapping[str, str]) -> list[AIMessage]:
    """What the client has read of an earlier run and the state does not have."""
    return [AIMessage(text, id=message_id) for message_id, text in unfinished.items() if not known.has(message_id)]


def _results_of_unanswered(history: Sequence[BaseMessage], messages: Sequence[BaseMessage]) -> Iterator[ToolMessage]:
    """Results for the calls at the end of the history that a failed or cancelled run left without one.

    Model endpoints refuse a call without a result. The caller may answer calls too: those are left alone. If it sends
    results only, the graph waits for those of the client's other calls.
    """
    waits = all(isinstance(one, ToolMessage) for one in messages)
    answered = {one.tool_call_id for one in messages if isinstance(one, ToolMessage)}
    for one in reversed(history):
        if isinstance(one, ToolMessage):
            answered.add(one.tool_call_id)
            continue
        # The endpoints get the invalid calls of a message too.
        for call in [*one.tool_calls, *one.invalid_tool_calls] if isinstance(one, AIMessage) else ():
            if call["id"] not in answered and not (waits and call["id"] in one.additional_kwargs.get(MARK, ())):
                yield ToolMessage(
                    NO_RESULT, tool_call_id=call["id"] or "", name=call["name"], status="error", id=new_id("msg")
                )
        return


def answered_questions(answers: Answers) -> list[tuple[str, str]]:
    """The questions that are not about a tool call, with their answers as text."""
    return [
        (one.id, _as_text(answers.decisions[one.id]))
        for one in answers.waiting
        if one.interrupt in answers.resume and one.call is None
    ]


def _as_text(decision: Decision) -> str:
    if decision.kind == "respond":
        return decision.text if isinstance(decision.text, str) else written_as_json(decision.text)
    return {"approve": "approved", "edit": "approved with other arguments"}.get(decision.kind, "rejected")
