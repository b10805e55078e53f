"""Takes the parts of a graph's stream where they arise, and hands them on one by one, on the loop of the run."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Awaitable, Callable

from graph_agent.runs.stream import Part

GATHER_SECONDS = 0.02
"""How long after a token the next ones are gathered, before they are handed on together. A few at a time take half the
time of as many one by one, because the processor still has what it needs for them. A screen shows 60 pictures a second,
so nobody notices. A token that comes later is handed on at once, and any other part at once with those before it."""

FAST, FAST_SECONDS = 100, 0.05
"""From so many tokens a second on, a stream is read as lines and not word by word, and its tokens are gathered for this
long: each hand-on is a write to a socket and wakes a task. 20 changes a second still look like a stream."""

MOST_GATHERED = 256
"""The most tokens that are handed on together. A model that does not let the event loop run would bring any number."""


class Parts:
    """The parts of one stream of a graph. All methods but `put` are for the loop on which this was made.

    A part that takes little time is handed on at once, in the call that brings it. One that takes longer lets other
    tasks run in between, and whatever comes meanwhile waits behind it.
    """

    def __init__(
        self,
        *,
        at_once: Callable[[Part], bool],
        slowly: Callable[[Part], Awaitable[None]],
        failed: Callable[[BaseException], None],
        gathers: bool = True,
    ) -> None:
        """`at_once` takes a part, or returns false. Then `slowly` gets it. `failed` gets the exception of either.
        Without `gathers`, each token is handed on for itself."""
        self._at_once, self._slowly, self._failed = at_once, slowly, failed
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # That of the run. A node may call a model in a context that has none of its variables, such as hidden values.
        self._context = contextvars.copy_context()
        self._gathers_any = gathers
        self._gathered: list[Part] = []
        self._window = GATHER_SECONDS
        self._gathers_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # Made with the first part that takes longer: nearly none does, and an empty one takes 760 bytes.
        self._waiting: deque[Part] | None = None
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    def put(self, part: Part) -> None:
        """Take a part, in any thread."""
        if threading.get_ident() == self._thread:
            gathered = self._gathered
            if part[1] != "messages" or self._closed:
                self._context.run(self._take, part)
            elif gathered and len(gathered) < MOST_GATHERED:
                # The timer that hands them on is set.
                gathered.append(part)
            elif not gathered and self._loop.time() < self._gathers_until:
                gathered.append(part)
                self._timer = self._loop.call_at(self._gathers_until, self._flush, context=self._context)
            else:
                self._context.run(self._take, part)
            return
        try:
            self._loop.call_soon_threadsafe(self.put, part)
        except RuntimeError:
            # A node's thread has outlived the loop, and with it the run.
            return

    def flush(self) -> None:
        """Hand on the tokens that were gathered."""
        if self._gathered:
            self._context.run(self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        for part in gathered:
            self._hand_on(part)
        if gathered:
            self._gathers(FAST_SECONDS if len(gathered) >= FAST * self._window else GATHER_SECONDS)

    def _gathers(self, seconds: float) -> None:
        self._window = seconds
        self._gathers_until = self._loop.time() + seconds

    async def caught_up(self) -> None:
        """Wait until every part so far is handed on."""
        self.flush()
        if self._working is not None:
            await asyncio.wait([self._working])

    def close(self) -> None:
        """Ignore what is still to come."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.clear()
        self._gathered.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working is not None:
            self._working.cancel()

    def _take(self, part: Part) -> None:
        if self._gathered:
            self._flush()
        self._hand_on(part)
        if part[1] == "messages" and self._gathers_any:
            self._gathers(GATHER_SECONDS)

    def _hand_on(self, part: Part) -> None:
        if self._closed:
            return
        if self._waiting is None:
            try:
                if self._at_once(part):
                    return
            except BaseException as error:  # noqa: BLE001 - it ends the run, and not the node that brings the part
                self._fail(error)
                return
            self._waiting = deque()
            self._working = self._loop.create_task(self._work(self._waiting), context=self._context.copy())
        self._waiting.append(part)

    async def _work(self, waiting: deque[Part]) -> None:
        try:
            while waiting:
                await self._slowly(waiting.popleft())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._fail(error)
        finally:
            self._waiting = self._working = None

    def _fail(self, error: BaseException) -> None:
        self.close()
        self._failed(error)
