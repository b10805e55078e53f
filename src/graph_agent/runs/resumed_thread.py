"""Finds where an earlier attempt at a run stopped, by the last checkpoint that it wrote."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import BaseMessage
from langgraph.types import StateSnapshot

from graph_agent.protocol.final_state import all_messages
from graph_agent.protocol.interrupts import PendingInterrupt
from graph_agent.runs.instructions import MESSAGES
from graph_agent.runs.open_thread import OpenThread
from graph_agent.runs.run_saver import SPOKEN, RunSaver

BEHIND_ANSWERS = ":messages"
"""What is behind the id of a run in the checkpoints of its second part: the graph was resumed with answers, and then
got the messages of the request."""

Phase = Literal["begin", "middle", "asks", "done"]
"""`begin`: it wrote no checkpoint. `asks`: its graph waits for a person. `done`: its graph came to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedThread:
    """Where an earlier attempt stopped."""

    phase: Phase
    values: Any = None
    """The graph's state."""

    below: Sequence[BaseMessage] = ()
    """The messages of graphs within the graph that have not ended."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """For the graph's config."""

    pending: Sequence[PendingInterrupt] = ()
    spoken: Collection[str] = ()
    """The ids of the messages that were streamed to the caller before the checkpoint."""

    used: Mapping[str, int] = field(default_factory=dict)
    """What the run had used by the checkpoint."""

    is_behind_answers: bool = False
    """Whether the graph has got the messages that came with the answers."""


async def resumed_at(opened: OpenThread, saver: RunSaver, *, run_id: str, context: Any) -> ResumedThread:
    """Read where an earlier attempt at this run stopped.

    Raises:
        StoreUnavailable: the database does not answer.
    """
    part, spoken, used = saver.noted_in_latest()
    if part not in (run_id, run_id + BEHIND_ANSWERS):
        return ResumedThread(phase="begin")
    saver.resume()
    address = {"configurable": {"thread_id": opened.config["configurable"]["thread_id"]}}
    untyped: Any = opened.graph
    state: StateSnapshot = await untyped.aget_state(address, subgraphs=True)
    return ResumedThread(
        phase=_phase(state),
        values=state.values,
        below=list(_below(state)),
        config={**address, "metadata": {"run_id": part}},
        pending=[
            PendingInterrupt(one.id, one.value, schema=getattr(one, "response_schema", None))
            for one in state.interrupts
        ],
        spoken=[*spoken, *_spoken_below(state)],
        used=used,
        is_behind_answers=part != run_id,
    )


def _phase(state: StateSnapshot) -> Phase:
    # Not `next`: it leaves out a node that has ended, and whose writes are in no checkpoint yet.
    if not state.tasks:
        return "done"
    waiting = [task for task in state.tasks if task.interrupts]
    running = [task for task in state.tasks if not task.interrupts and task.result is None and task.error is None]
    return "asks" if waiting and not running else "middle"


def _spoken_below(state: StateSnapshot) -> Iterator[str]:
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot):
            noted: Any = task.state.metadata or {}
            yield from noted.get(SPOKEN) or ()
            yield from _spoken_below(task.state)


def _below(state: StateSnapshot) -> Iterator[BaseMessage]:
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot):
            values = task.state.values
            if isinstance(values, Mapping) and isinstance(values.get(MESSAGES), list):
                yield from all_messages(values[MESSAGES])
            yield from _below(task.state)
