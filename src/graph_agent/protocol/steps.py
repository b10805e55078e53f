"""The steps of a run as events: which node of the graph runs, since when, and how it ended.

LangGraph says of each node in its stream when it is due and what it returned. That decides the order of the events: a
node begins before its items and ends after them. A callback says when the node really began, also in a repeated
attempt, and when it stopped. A node that is due may never begin, because its result is known from before an approval.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from graph_agent.errors import RunCancelled
from graph_agent.protocol.events import NODE, Event, new_id
from graph_agent.redaction import redact

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds. The log of events needs this module before that.
    from graph_agent.protocol.requested_calls import Namespace

STEPS = "graph_agent.steps"
"""The value of a request's `include` that asks for the events of this module."""

TASKS = "tasks"
"""The stream mode in which LangGraph says which nodes are due, and what they returned."""

MOST_SUMMARIZED = 500
"""The most steps in `custom_outputs`. More are counted."""

MOST_WAITING = 10_000
"""The most nodes of which only the stream or only the callback has told. A step may have thousands of parallel ones."""

StepStatus = Literal["in_progress", "completed", "failed", "interrupted"]


@dataclass(slots=True, kw_only=True)
class NodeTimes:
    """When a node ran, as a callback saw it."""

    started_at: float
    """Seconds since 1970."""
    began: float
    """On the clock that measures durations."""
    stopped: float | None = None
    status: StepStatus = "in_progress"
    """How its latest attempt ended."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One node of a graph that runs or has run."""

    id: str
    name: str
    path: list[str]
    """The names of the nodes that lead to it: those whose subgraphs it is in, then its own."""
    place: "Namespace"
    """Its own namespace, with which those of the nodes below it begin."""
    times: NodeTimes | None
    """`None` for a node of an earlier attempt."""
    started_at: float
    output_index: int = 0
    """The index of the first item that was opened after the node began."""
    status: StepStatus = "in_progress"
    seconds: float | None = None

    def fields(self) -> dict[str, Any]:
        """The step as events and responses show it."""
        return {
            "id": self.id,
            "name": self.name,
            "path": self.path,
            "status": self.status,
            "started_at": self.started_at,
            "seconds": self.seconds,
            "output_index": self.output_index,
        }

    def event(self) -> Event:
        """The event that says where the step stands now."""
        return {"type": NODE, "node": self.fields()}


class Steps:
    """The steps of one run. Nodes are known by LangGraph's ids of their tasks."""

    def __init__(self, *, next_index: Callable[[], int] = lambda: 0) -> None:
        """`next_index` is the index of the next item of the output."""
        self._next_index = next_index
        self._due: dict[str, Step] = {}
        """Nodes that have not begun, as far as is known."""
        self._times: dict[str, NodeTimes] = {}
        """Nodes that have begun and are not due, as far as is known."""
        self._open: dict[str, Step] = {}
        self._told: list[Step] = []
        self._left_out = 0

    # -- what the stream says -----------------------------------------------------------------------------------

    def feed(self, task: Mapping[str, Any], ns: "Namespace") -> Iterator[Event]:
        """One part of the stream mode `TASKS`: a node of the graph with this namespace is due or has returned."""
        if "result" in task:
            yield from self._returned(task)
            return
        id_, name = str(task["id"]), str(task["name"])
        place = (*ns, f"{name}:{id_}")
        step = Step(id=new_id("node"), name=redact(name), path=_path(place), place=place, times=None, started_at=0.0)
        if (times := self._times.pop(id_, None)) is not None:
            yield from self._begin(id_, step, times)
        else:
            self._due[id_] = step
            _bound(self._due)

    def _returned(self, task: Mapping[str, Any]) -> Iterator[Event]:
        step = self._open.get(str(task["id"]))
        if step is not None:
            yield from self._close_below(step)
            yield self._close(str(task["id"]), step, _status_of(task))

    # -- what the callback says ---------------------------------------------------------------------------------

    def began(self, id_: str, times: NodeTimes) -> Iterator[Event]:
        """An attempt at a node begins."""
        if (step := self._due.pop(id_, None)) is not None:
            yield from self._begin(id_, step, times)
        elif (step := self._open.get(id_)) is not None:
            # Its attempt before has failed, and the node's policy is to try again. Its time goes on.
            if step.times is not None:
                step.times.stopped, step.times.status = None, "in_progress"
            yield step.event()
        else:
            self._times[id_] = times
            _bound(self._times)

    def stopped(self, id_: str, at: float, status: StepStatus) -> None:
        """An attempt at a node ends. The stream says whether that is the node's end."""
        step = self._open.get(id_)
        times = self._times.get(id_) if step is None else step.times
        if times is not None:
            times.stopped, times.status = at, status

    def running(self, id_: str) -> Step | None:
        """The node, if it runs and the client knows it."""
        return self._open.get(id_)

    def is_untold(self, id_: str) -> bool:
        """Whether the node has begun, and the stream has not said yet that it is due."""
        return id_ in self._times

    # -- the life of a step -------------------------------------------------------------------------------------

    def _begin(self, id_: str, step: Step, times: NodeTimes) -> Iterator[Event]:
        step.times, step.started_at = times, round(times.started_at, 3)
        step.output_index = self._next_index()
        self._open[id_] = step
        self._tell(step)
        yield step.event()

    def _tell(self, step: Step) -> None:
        if len(self._told) < MOST_SUMMARIZED:
            self._told.append(step)
        else:
            self._left_out += 1

    def _close(self, id_: str, step: Step, status: StepStatus) -> Event:
        del self._open[id_]
        step.status = status
        if (times := step.times) is not None:
            stopped = time.monotonic() if times.stopped is None else times.stopped
            step.seconds = round(max(stopped - times.began, 0.0), 3)
            step.times = None
        return step.event()

    def _close_below(self, above: Step) -> Iterator[Event]:
        """LangGraph does not say that a node has returned if its graph was left, as by a command to the graph above."""
        depth = len(above.place)
        if len(self._open) > 1:
            below = {id_: one for id_, one in self._open.items() if one.place[:depth] == above.place}
            for id_, step in reversed(below.items()):
                if step is not above:
                    yield self._close(id_, step, _left(step))

    def close(self) -> Iterator[Event]:
        """The run ends, or goes on without what is open."""
        for id_, step in reversed(list(self._open.items())):
            yield self._close(id_, step, _left(step))
        self._due.clear()

    # -- more than one attempt at a run -------------------------------------------------------------------------

    def restore(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """The log of an earlier attempt has these nodes, in the order in which they began. `close` ends the open
        ones."""
        for node in nodes:
            step = Step(**node, place=(), times=None)
            self._tell(step)
            if step.status == "in_progress":
                self._open[step.id] = step

    def summary(self) -> dict[str, Any]:
        """What the terminal response says, as fields of `custom_outputs`."""
        steps: dict[str, Any] = {"steps": [one.fields() for one in self._told]}
        return steps | ({"steps_left_out": self._left_out} if self._left_out else {})


def _path(place: "Namespace") -> list[str]:
    # A part without a colon counts the calls of a subgraph within a node.
    return [redact(part.rpartition(":")[0]) for part in place if ":" in part]


def _status_of(task: Mapping[str, Any]) -> StepStatus:
    if task.get("interrupts"):
        return "interrupted"
    if (error := task.get("error")) is not None:
        return "interrupted" if isinstance(error, asyncio.CancelledError | RunCancelled) else "failed"
    return "completed"


def _left(step: Step) -> StepStatus:
    """How a node ended of which the stream says nothing."""
    known = "in_progress" if step.times is None else step.times.status
    return "interrupted" if known == "in_progress" else known


def _bound(waiting: dict[str, Any]) -> None:
    if len(waiting) > MOST_WAITING:
        del waiting[next(iter(waiting))]
