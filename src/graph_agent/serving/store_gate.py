"""The store of one app, and what a request gets while its database is down."""

import asyncio
import logging
from collections.abc import Callable

from graph_agent.errors import AgentError, ConfigurationError, LifespanNotRun, StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.runs.registry import stopping
from graph_agent.serving.gate import NOT_RUN
from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
"""How long a request waits for a store that is being opened. Another process may be changing the schema."""

STILL_OPENING = "the database of GRAPH_AGENT_STORE is still being opened; try again shortly"
NOT_OPENED = "the store could not be opened; the service's log says why"


class StoreGate:
    """Opens the store beside the graphs, and again for the next request that needs it if the database was down.

    A service whose database is down still answers requests that store nothing. The app's lifespan calls `begin()` and
    `aclose()`. A lifespan may run again later, even on another event loop.
    """

    def __init__(
        self, make: Callable[[], Store], *, on_failed_start: Callable[[AgentError], None] | None = None
    ) -> None:
        """`on_failed_start` is called with the reason if the store can never be opened as it is configured."""
        self._make = make
        self._on_failed_start = on_failed_start
        self._store: Store | None = None
        self._opening: asyncio.Task[Store] | None = None
        self._ended = self._failed = self._unusable = False

    def begin(self) -> None:
        """Make the store and start to open it."""
        self._ended = self._failed = self._unusable = False
        try:
            self._store = self._make()
        except ConfigurationError as error:
            self._give_up(error)
        else:
            self._start_opening(self._store)

    async def passed(self) -> Store:
        """The open store.

        Raises:
            StoreUnavailable: the database does not answer.
            LifespanNotRun: no lifespan has begun, so no store is opened.
            ServiceStopping: the lifespan has ended.
        """
        if self._unusable:
            raise StoreUnavailable(NOT_OPENED)
        if self._store is None:
            raise stopping() if self._ended else LifespanNotRun(NOT_RUN)
        if self._opening is None:
            self._start_opening(self._store)
        assert self._opening is not None
        opening = self._opening
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            # Nearly always. A timeout takes longer than everything else here.
            return opening.result()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                # Shielded: one opening serves all requests, also after the request that waits here has left.
                return await asyncio.shield(opening)
        except TimeoutError:
            raise StoreUnavailable(STILL_OPENING) from None

    async def aclose(self) -> None:
        """Close the store. From now on, every request is refused."""
        store, opening, self._store, self._opening = self._store, self._opening, None, None
        self._ended = True
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        if store is not None:
            try:
                await store.aclose()
            except Exception as error:  # noqa: BLE001 - the rest of the shutdown must follow
                logger.warning("the store could not be closed: %s", describe_error(error))

    def _start_opening(self, store: Store) -> None:
        self._opening = asyncio.create_task(self._opened(store))
        self._opening.add_done_callback(self._forget_failure)

    async def _opened(self, store: Store) -> Store:
        try:
            await store.open()
        except StoreUnavailable as error:
            self._report(error.message)
            raise
        except ConfigurationError as error:
            self._give_up(error)
            raise StoreUnavailable(NOT_OPENED) from None
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; requests get a typed error
            self._report(describe_error(error))
            raise StoreUnavailable(NOT_OPENED) from None
        if self._failed:
            self._failed = False
            logger.info("the store is open")
        return store

    def _give_up(self, error: ConfigurationError) -> None:
        # The message is not for clients: it may name a path.
        logger.error("cannot start: %s", error.message)
        self._unusable = True
        if self._on_failed_start is not None:
            self._on_failed_start(error)

    def _report(self, why: str) -> None:
        # Once, not for each request.
        if not self._failed:
            self._failed = True
            logger.warning("the store could not be opened, and each request that needs it tries again: %s", why)

    def _forget_failure(self, opening: "asyncio.Task[Store]") -> None:
        # Reading the exception also tells asyncio that it was seen.
        if (opening.cancelled() or opening.exception() is not None) and self._opening is opening:
            self._opening = None
