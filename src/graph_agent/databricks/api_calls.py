"""Calls of the Databricks SDK from tools: off the event loop, as whoever the run acts for, within a time limit."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, TypeVar

from graph_agent.app_context import PerApp
from graph_agent.databricks.clients import Actor, actor, client_for
from graph_agent.databricks.index_errors import Service, search_error, status_of
from graph_agent.databricks.search_threads import SearchThreads
from graph_agent.errors import AgentError, RetrievalFailed, ToolFailed, WorkspaceUnavailable
from graph_agent.identity.user_token import user_token

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

logger = logging.getLogger(__name__)

THREADS = 16
"""Calls at once; the SDK is synchronous, and the default executor has six threads on two cores."""

MOST_GOODBYES = 16
"""Calls at once that nobody waits for; a workspace that does not answer would hold a thread for each."""

_GOODBYES = threading.BoundedSemaphore(MOST_GOODBYES)

Answer = TypeVar("Answer")


class ApiCalls:
    """Calls of one thing, named `what` in errors; `grant` is the permission it takes."""

    def __init__(self, what: str, *, grant: str, acting_as: Actor | None) -> None:
        self._what = what
        self._grant = grant
        self._acting_as = acting_as
        self._threads = PerApp(lambda: SearchThreads(what, most=THREADS), close=SearchThreads.close)

    def identity(self) -> str:
        """Whose calls they are now: a user's token, named without telling it, or the app.

        Raises:
            Unauthenticated: they act for the user, and there is no token or it has expired.
        """
        return user_token().key if actor(self._acting_as) == "user" else "app"

    async def ask(
        self,
        call: Callable[["WorkspaceClient"], Answer],
        *,
        seconds: float,
        left: Callable[["WorkspaceClient", Answer], object] | None = None,
    ) -> Answer:
        """What the SDK answers.

        `left` undoes what was begun, in a thread, when nobody waits for the answer any more.

        Raises:
            ToolFailed: it refused, failed, or did not answer within `seconds`.
            Unauthenticated: acting for the user, and there is no token or it has expired.
        """
        self.identity()
        work = _Work(lambda: client_for(self._acting_as), call, left)
        try:
            async with asyncio.timeout(seconds):
                return await self._threads().run(work.run)
        except TimeoutError:
            work.leave()
            raise ToolFailed(f"{self._what} did not answer within {seconds:.3g} s") from None
        except asyncio.CancelledError:
            work.leave()
            raise
        except RetrievalFailed:
            raise ToolFailed(f"{self._what} left {THREADS} earlier calls unanswered: try again later") from None
        except WorkspaceUnavailable as error:
            raise ToolFailed(error.message) from None
        except AgentError:
            raise
        except Exception as error:
            raise ToolFailed(self._said(error)) from error

    def leave(self, call: Callable[["WorkspaceClient"], object]) -> None:
        """Make a call nobody waits for."""
        _in_background(lambda: call(client_for(self._acting_as)))

    def _said(self, error: Exception) -> str:
        if status_of(error) == 400:
            return f"{self._what} refused the request (400)"
        return search_error(error, Service(self._what, self._grant, actor(self._acting_as))).message


class _Work(Generic[Answer]):
    """One call in a thread, and what undoes it if its asker leaves, at whatever moment that is."""

    def __init__(
        self,
        client: Callable[[], "WorkspaceClient"],
        call: Callable[["WorkspaceClient"], Answer],
        left: Callable[["WorkspaceClient", Answer], object] | None,
    ) -> None:
        self._client = client
        self._call = call
        self._undo = left
        self._lock = threading.Lock()
        self._gone = False
        self._answers: list[Answer] = []

    def run(self) -> Answer:
        client = self._client()
        answer = self._call(client)
        with self._lock:
            self._answers.append(answer)
            gone = self._gone
        if gone and self._undo is not None:
            self._undo(client, answer)
        return answer

    def leave(self) -> None:
        with self._lock:
            self._gone = True
            answers = list(self._answers)
        if answers and self._undo is not None:
            undo = self._undo
            _in_background(lambda: undo(self._client(), answers[0]))


def _in_background(call: Callable[[], object]) -> None:
    """In a thread of its own with the caller's context; it may fail without a word, as nobody waits for it."""

    def quietly() -> None:
        try:
            call()
        except Exception as error:
            logger.info("a call nobody waited for failed: %s", type(error).__name__)
        finally:
            _GOODBYES.release()

    if not _GOODBYES.acquire(blocking=False):
        logger.warning("a call that nobody waits for was not made: %d others are under way", MOST_GOODBYES)
        return
    threading.Thread(target=copy_context().run, args=(quietly,), daemon=True).start()
