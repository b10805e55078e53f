"""Requests wait at the gate while graphs load."""

import asyncio
import logging
from typing import TYPE_CHECKING

from graph_agent.errors import AgentError, ConfigurationError, LifespanNotRun, NotReady
from graph_agent.runs.registry import stopping

if TYPE_CHECKING:
    from graph_agent.serving.service import Service

logger = logging.getLogger(__name__)

NOT_RUN = (
    "the lifespan of this app did not run, so no graph is loaded; Starlette and FastAPI do not run the lifespan of a "
    "mounted app: pass it to the host, FastAPI(lifespan=graph_agent.host_lifespan(app))"
)
RUNS_ALREADY = (
    "the lifespan of this app is already running: mount each app in one host, or make another with create_app"
)


class Gate:
    """Opens when the graphs are loaded. Requests that arrive earlier wait.

    The app's lifespan calls `begin()` and `end()`. A lifespan may run again later, even on another event loop.
    """

    def __init__(self, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._settled: asyncio.Event | None = None
        self._ended = self._reported = False
        self.service: Service | None = None
        # Until a lifespan begins: a host that forgets it must get this answer, not a wait that never ends.
        self.failure: AgentError | None = LifespanNotRun(NOT_RUN)

    def begin(self) -> None:
        """The app's lifespan has begun. From now on, requests wait.

        Raises:
            ConfigurationError: a lifespan of this app is already running.
        """
        if self._settled is not None:
            raise ConfigurationError(RUNS_ALREADY)
        # Made here and not in the constructor: an event belongs to the event loop on which it is first awaited.
        self._settled, self._ended = asyncio.Event(), False
        self.service = self.failure = None

    def end(self) -> None:
        """The app's lifespan ends. From now on, every request is refused."""
        settled, self._settled, self._ended = self._settled, None, True
        self.service, self.failure = None, stopping()
        # Requests that still wait must not wait for their whole time: they are refused now.
        if settled is not None:
            settled.set()

    def open(self, service: "Service") -> None:
        """Let requests through."""
        self.service, self.failure = service, None
        self._settle()

    def fail(self, error: AgentError) -> None:
        """Answer every request with an error."""
        self.failure = error
        self._settle()

    async def passed(self) -> "Service":
        """Wait for the service.

        Raises:
            LifespanNotRun: no lifespan has begun, so no graph is going to be loaded.
            NotReady: the graphs are still loading after `wait_seconds`, or loading failed.
            ServiceStopping: the lifespan has ended.
        """
        if self._settled is not None and self._settled.is_set():
            # Nearly always. A timeout takes longer than everything else here.
            pass
        elif self._settled is not None:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._settled.wait()
            except TimeoutError:
                raise NotReady("the graphs are still loading; try again shortly") from None
        elif not self._ended:
            self._report()
            raise LifespanNotRun(NOT_RUN)
        if self._ended:
            raise stopping()
        if self.service is None:
            # Not the failure itself: its message may name files and settings, which are for the operator.
            raise NotReady("the graphs could not be loaded; the service's log says why")
        return self.service

    def _settle(self) -> None:
        if self._settled is not None:
            self._settled.set()

    def _report(self) -> None:
        # Once, not for each request.
        if not self._reported:
            self._reported = True
            logger.error(NOT_RUN)
