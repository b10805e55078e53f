"""The WebSockets of one app that are open."""

import asyncio
from collections.abc import Awaitable

from graph_agent.errors import TooManySockets
from graph_agent.runs.registry import stopping
from graph_agent.serving.limits import RETRY_AFTER_SECONDS
from graph_agent.serving.socket_session import SocketSession


class OpenSockets:
    """Counts them, and ends them when the service stops."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._open: dict[SocketSession, asyncio.Future[None]] = {}
        self._stops = False

    def __len__(self) -> int:
        return len(self._open)

    def require_free(self) -> None:
        """Check that another one may be opened.

        Raises:
            ServiceStopping: the service stops.
            TooManySockets: too many are open.
        """
        if self._stops:
            raise stopping()
        if len(self._open) >= self._most:
            raise TooManySockets(
                f"{self._most} WebSockets are open, which is the most (GRAPH_AGENT_MAX_SOCKETS); use HTTP, or try "
                "again shortly",
                retry_after=RETRY_AFTER_SECONDS,
            )

    async def keep(self, session: SocketSession, running: Awaitable[None]) -> None:
        """Keep a connection among the open ones while it runs."""
        task = asyncio.ensure_future(running)
        self._open[session] = task
        try:
            await task
        finally:
            del self._open[session]

    def stop(self) -> None:
        """Open no more, and end those that are open, each after its response in flight."""
        self._stops = True
        for session in list(self._open):
            session.stop()

    async def ended(self, *, within_seconds: float) -> None:
        """Wait until all have ended."""
        if self._open:
            await asyncio.wait(self._open.values(), timeout=within_seconds)

    def accept(self) -> None:
        """Accept new ones again: an app may be started again after it was stopped."""
        self._stops = False
