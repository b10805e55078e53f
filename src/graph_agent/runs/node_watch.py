"""The callback that sees when the nodes of a run begin and stop, for the events that tell its steps."""

import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.constants import TAG_HIDDEN
from langgraph.errors import GraphInterrupt, ParentCommand

from graph_agent.errors import RunCancelled
from graph_agent.protocol.events import Event
from graph_agent.protocol.steps import NodeTimes, StepStatus
from graph_agent.protocol.translator import Translator


class See(Protocol):
    """Keeps what was seen until the run tells it."""

    def __call__(self, happening: Callable[[Translator], Iterator[Event]], *, at_once: bool = True) -> None:
        """`happening` gives the events. Not `at_once`: the stream brings the run to it soon."""


class NodeWatch(BaseCallbackHandler):
    """Watches the nodes of one run."""

    # Otherwise LangChain calls the handler in other threads, where the end of a step may arrive before its start.
    run_inline = True
    # A bug in this must not fail the run.
    raise_error = False
    # A token costs nothing here, and models are no steps.
    ignore_llm = True
    ignore_chat_model = True
    ignore_retriever = True
    ignore_agent = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, *, is_private: Callable[[UUID | None], bool], see: See) -> None:
        """`is_private` says whether the caller may see nothing below a LangChain run."""
        self._is_private = is_private
        self._see = see
        self._running: set[str] = set()
        self._nodes: dict[UUID, str] = {}

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
        self._running.add(task)
        self._nodes[run_id] = task
        times = NodeTimes(started_at=time.time(), began=time.monotonic())
        self._see(lambda translator: translator.node_began(task, times))

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
        if task is not None:
            self._running.discard(task)
            at = time.monotonic()
            self._see(lambda translator: translator.node_stopped(task, at, status), at_once=False)


def task_of(metadata: Mapping[str, Any]) -> str | None:
    """LangGraph's id of the task in which something runs that has this metadata."""
    part = str(metadata.get("langgraph_checkpoint_ns") or "").rpartition("|")[2]
    return part.rpartition(":")[2] or None
