"""What the service depends on, as `/ready` asks it: rarely, and once for all who ask."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error

logger = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
"""How long an answer counts."""

WAIT_SECONDS = 3.0
"""How long a probe waits for an answer. Probes themselves give up after seconds."""

Question = Callable[[], Awaitable[object]]
"""Returns if the dependency answers, and raises otherwise."""


class Dependencies:
    """The dependencies of one app. All of it belongs to the event loop of the lifespan, which calls `aclose`."""

    def __init__(self, questions: Mapping[str, Question], *, wait_seconds: float = WAIT_SECONDS) -> None:
        """`questions` are by the name of what is asked, such as `the store`."""
        self._all = [_Dependency(name, ask, wait_seconds) for name, ask in questions.items()]

    async def problem(self) -> str | None:
        """What is wrong with one of those that do not answer, or `None`. It is at most `FRESH_SECONDS` old."""
        found = await asyncio.gather(*(one.problem() for one in self._all))
        return next((one for one in found if one is not None), None)

    async def aclose(self) -> None:
        """Ask nothing any more, and forget all answers."""
        await asyncio.gather(*(one.aclose() for one in self._all))


class _Dependency:
    def __init__(self, name: str, ask: Question, wait_seconds: float) -> None:
        self._name = name
        self._ask = ask
        self._wait_seconds = wait_seconds
        self._asking: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._answered_at: float | None = None

    async def problem(self) -> str | None:
        if self._answered_at is not None and time.monotonic() - self._answered_at < FRESH_SECONDS:
            return self._problem
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer())
        # Not cancelled when it takes long: the next probe waits for the same question, so a dependency that hangs
        # occupies one thread or connection and not one for each probe.
        done, _ = await asyncio.wait([self._asking], timeout=self._wait_seconds)
        return self._problem if done else self._reported(f"{self._name} has not answered for {self._wait_seconds:g} s")

    async def aclose(self) -> None:
        asking, self._asking, self._answered_at = self._asking, None, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _answer(self) -> None:
        problem = None
        try:
            await self._ask()
        except AgentError as error:
            problem = error.message
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the probe gets an answer
            logger.error("asking %s failed: %s", self._name, describe_error(error))
            problem = f"{self._name} does not answer; the service's log has the place"
        self._asking, self._answered_at = None, time.monotonic()
        self._reported(problem)

    def _reported(self, problem: str | None) -> str | None:
        """The problem, after the log was told that there is one now or no longer."""
        if (problem is None) != (self._problem is None):
            if problem is None:
                logger.info("%s answers again", self._name)
            else:
                logger.warning("not ready: %s", problem)
        self._problem = problem
        return problem
