"""Tells the steps of a run: what its callbacks have seen is written between the parts of the graph's stream.

Nodes, tools and retrievers call the callbacks where they run, which may be another thread. So what is seen waits in a
queue until the run's loop takes it: before the next part of the stream, or at once if no part comes.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Iterator
from uuid import UUID

from graph_agent.found_documents import Finding
from graph_agent.protocol.events import Event
from graph_agent.protocol.translator import Translator
from graph_agent.runs.node_watch import NodeWatch
from graph_agent.runs.search_watch import SearchWatch

MOST_HELD = 100
"""The most searches that wait until the stream says that their node is due."""


class StepEvents:
    """The steps of one run. Its methods are for the run's event loop."""

    def __init__(
        self,
        write: Callable[[Callable[[Translator], Iterator[Event]]], None],
        *,
        is_private: Callable[[UUID | None], bool],
    ) -> None:
        """`write` writes the events that it gets for the run's translator to the log. `is_private` says whether the
        caller may see nothing below a LangChain run."""
        self._write = write
        self._seen: deque[Callable[[Translator], Iterator[Event]]] = deque()
        self._held: deque[tuple[str, Finding]] = deque(maxlen=MOST_HELD)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context: contextvars.Context | None = None
        self._called = False
        self.callbacks = [
            NodeWatch(is_private=is_private, see=self._see),
            SearchWatch(is_private=is_private, found=lambda task, found: self._see(lambda _: self._hold(task, found))),
        ]
        """For the graph, behind the run's monitor, which knows what is private."""

    def begin(self) -> None:
        """The graph begins. Call it in the task of the run."""
        self._loop = asyncio.get_running_loop()
        # What is called from a thread is redacted as everything in this run is.
        self._context = contextvars.copy_context()

    def tell(self) -> None:
        """Write what was seen. Call it before each part of the stream."""
        self._called = False
        if self._seen or self._held:
            self._write(self._events)

    def tell_held(self) -> None:
        """Write what a part of the stream has been waited for."""
        if self._held:
            self.tell()

    def _events(self, translator: Translator) -> Iterator[Event]:
        while self._seen:
            yield from self._seen.popleft()(translator)
        for _ in range(len(self._held)):
            task, found = self._held.popleft()
            if translator.steps is not None and translator.steps.is_untold(task):
                self._held.append((task, found))
            else:
                yield from translator.has_found(task, found)

    def _hold(self, task: str, found: Finding) -> Iterator[Event]:
        self._held.append((task, found))
        return iter(())

    def _see(self, happening: Callable[[Translator], Iterator[Event]], *, at_once: bool = True) -> None:
        """Called in any thread, also in one that outlives the loop."""
        self._seen.append(happening)
        if not at_once or self._called or self._loop is None:
            return
        self._called = True
        try:
            self._loop.call_soon_threadsafe(self.tell, context=self._context)
        except RuntimeError:
            return
