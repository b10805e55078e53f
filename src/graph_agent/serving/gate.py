"""The gate at which requests wait while graphs load."""

import asyncio
import logging
from typing import TYPE_CHECKING

from graph_agent.errors import AgentError, ConfigurationError, LifespanNotRun, NotReady
from graph_agent.runs.registry import stopping

if TYPE_CHECKING:
    from graph_agent.serving.service import Service

logger = logging.getLogger(__name__)

NOT_RUN = (
    "the lifespan of this app did not run, so no graph is loaded; Starlette and FastAPI do not run that of a mounted "
    "app: give it to the host, FastAPI(lifespan=graph_agent.host_lifespan(app))"
)
RUNS_ALREADY = "the lifespan of this app runs already: give each app to one host, or make another with create_app"


class Gate:
    """Opens when the graphs are loaded; requests that come earlier wait at it.

    `begin()` and `end()` are those of the app's lifespan. It may run again later, also on another event loop.
    """

    def __init__(self, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._settled: asyncio.Event | None = None
        self._ended = self._told = False
        self.service: Service | None = None
        self.failure: AgentError | None = LifespanNotRun(NOT_RUN)

    def begin(self) -> None:
        """The app's lifespan has begun: from now on requests wait.

        Raises:
            ConfigurationError: it runs already.
        """
        if self._settled is not None:
            raise ConfigurationError(RUNS_ALREADY)
        self._settled, self._ended = asyncio.Event(), False
        self.service = self.failure = None

    def end(self) -> None:
        """The app's lifespan ends: nothing passes any more."""
        settled, self._settled, self._ended = self._settled, None, True
        self.service, self.failure = None, stopping()
        if settled is not None:
            settled.set()

    def open(self, service: "Service") -> None:
        """Let requests through."""
        self.service, self.failure = service, None
        self._settle()

    def fail(self, error: AgentError) -> None:
        """Answer every request with what went wrong."""
        self.failure = error
        self._settle()

    async def passed(self) -> "Service":
        """The service, once there is one.

        Raises:
            LifespanNotRun: nothing has begun to load the graphs, and nothing will.
            NotReady: still loading after `wait_seconds`, or loading failed.
            ServiceStopping: the lifespan has ended.
        """
        if self._settled is not None:
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._settled.wait()
            except TimeoutError:
                raise NotReady("the graphs are still loading; try again shortly") from None
        elif not self._ended:
            self._tell()
            raise LifespanNotRun(NOT_RUN)
        if self._ended:
            raise stopping()
        if self.service is None:
            raise NotReady("the graphs could not be loaded; the service's log says why")
        return self.service

    def _settle(self) -> None:
        if self._settled is not None:
            self._settled.set()

    def _tell(self) -> None:
        """Once: every request meets it."""
        if not self._told:
            self._told = True
            logger.error(NOT_RUN)
