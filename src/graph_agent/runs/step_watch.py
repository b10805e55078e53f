"""The callback that sees when the nodes of a run begin and stop, for the events that tell its steps."""

import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.constants import TAG_HIDDEN
from langgraph.errors import GraphInterrupt, ParentCommand

from graph_agent.errors import RunCancelled
from graph_agent.protocol.events import Event
from graph_agent.protocol.steps import NodeTimes, Steps, StepStatus

Happening = Callable[[Steps], Iterator[Event]]
"""What happened, as the events that tell it."""


class StepWatch(BaseCallbackHandler):
    """The watch of one run, for `config["callbacks"]`. It stands behind the run's monitor, which knows what is private.

    Synchronous nodes call it from their threads, so what it sees waits in a queue for the run.
    """

    # Otherwise LangChain calls the handler in other threads, where the end of a step may arrive before its start.
    run_inline = True
    # A bug in this must not fail the run.
    raise_error = False

    def __init__(self, *, is_private: Callable[[UUID | None], bool], notify: Callable[[], None]) -> None:
        """`is_private` says whether the children of a LangChain run are. `notify` is called from any thread."""
        self._is_private = is_private
        self._notify = notify
        self._happenings: deque[Happening] = deque()
        self._running: dict[str, UUID] = {}
        self._nodes: dict[UUID, str] = {}

    @property
    def ignore_llm(self) -> bool:
        """A token must cost nothing."""
        return True

    @property
    def ignore_chat_model(self) -> bool:
        """Models are not steps."""
        return True

    @property
    def ignore_retry(self) -> bool:
        """A node that is tried again begins again."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Custom events belong to the author of the graph."""
        return True

    def told(self, steps: Steps) -> Iterator[Event]:
        """The events of what has happened since the last call."""
        while self._happenings:
            yield from self._happenings.popleft()(steps)

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        # Runnables inside of a node carry the same metadata. Only the node itself also has the node's name.
        if metadata is None or name is None or metadata.get("langgraph_node") != name:
            return
        task = task_of(metadata)
        # What runs within an attempt at the node, and has its name, is not another attempt.
        if task is None or task in self._running or TAG_HIDDEN in (tags or ()) or self._is_private(parent_run_id):
            return
        self._running[task], self._nodes[run_id] = run_id, task
        times = NodeTimes(started_at=time.time(), began=time.monotonic())
        self._happened(lambda steps: steps.began(task, times))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._stopped(run_id, "completed")

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        match error:
            case ParentCommand():
                # It hands over to another node of the graph above.
                self._stopped(run_id, "completed")
            case GraphInterrupt() | RunCancelled() | CancelledError():
                self._stopped(run_id, "interrupted")
            case _:
                self._stopped(run_id, "failed")

    def _stopped(self, run_id: UUID, status: StepStatus) -> None:
        task = self._nodes.pop(run_id, None)
        if task is None:
            return
        self._running.pop(task, None)
        at = time.monotonic()

        def stopped(steps: Steps) -> Iterator[Event]:
            steps.stopped(task, at, status)
            return iter(())

        # The stream tells it, and brings the run to look here.
        self._happenings.append(stopped)

    def _happened(self, happening: Happening) -> None:
        self._happenings.append(happening)
        self._notify()


def task_of(metadata: Mapping[str, Any]) -> str | None:
    """LangGraph's id of the task in which something runs that has this metadata."""
    part = str(metadata.get("langgraph_checkpoint_ns") or "").rpartition("|")[2]
    return part.rpartition(":")[2] or None
