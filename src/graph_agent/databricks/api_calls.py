"""Calls of the Databricks SDK from tools: off the event loop, with the run's identity, within a time limit."""

import asyncio
import importlib
import logging
import sys
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

SDK = "databricks.sdk"

THREADS = 16
"""Concurrent calls. The SDK is synchronous, and the default executor has only six threads on two cores."""

MOST_BACKGROUND = 16
"""Concurrent calls that no caller waits for. A workspace that does not answer would otherwise hold a thread for each,
without limit."""

_BACKGROUND = threading.BoundedSemaphore(MOST_BACKGROUND)

Answer = TypeVar("Answer")


class ApiCalls:
    """Calls of one service. Errors name it `what`; `grant` is the permission that its callers need."""

    def __init__(self, what: str, *, grant: str, acting_as: Actor | None) -> None:
        self._what = what
        self._grant = grant
        self._acting_as = acting_as
        self._threads = PerApp(lambda: SearchThreads(what, most=THREADS), close=SearchThreads.close)

    def identity(self) -> str:
        """The identity of a call made now: a hash of the user's token, or `app`.

        Raises:
            Unauthenticated: calls act for the user, and there is no token or it has expired.
        """
        return user_token().key if actor(self._acting_as) == "user" else "app"

    async def ask(
        self,
        call: Callable[["WorkspaceClient"], Answer],
        *,
        seconds: float,
        left: Callable[["WorkspaceClient", Answer], object] | None = None,
    ) -> Answer:
        """The SDK's answer.

        `left` undoes the call, in a thread, if the caller left before the answer.

        Raises:
            ToolFailed: the service refused, failed, or did not answer within `seconds`.
            Unauthenticated: acting for the user, and there is no token or it has expired.
        """
        # First, so that a missing token is an error of its own and not one from inside the SDK.
        self.identity()
        # The first call of a process imports the SDK. That is not the service's time, and takes seconds on a busy
        # machine.
        if SDK not in sys.modules:
            await asyncio.to_thread(importlib.import_module, SDK)
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
            raise ToolFailed(f"{self._what} has not answered {THREADS} earlier calls: try again later") from None
        except WorkspaceUnavailable as error:
            raise ToolFailed(error.message) from None
        except AgentError:
            raise
        except Exception as error:
            raise ToolFailed(self._message(error)) from error

    def leave(self, call: Callable[["WorkspaceClient"], object]) -> None:
        """Make a call that no caller waits for."""
        _in_background(lambda: call(client_for(self._acting_as)))

    def _message(self, error: Exception) -> str:
        # `search_error` would advise to check columns and filters, which only searches have.
        if status_of(error) == 400:
            return f"{self._what} refused the request (400)"
        return search_error(error, Service(self._what, self._grant, actor(self._acting_as))).message


class _Work(Generic[Answer]):
    """One call in a thread, which is undone if its caller leaves at any moment."""

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
        # Under one lock with `leave`: exactly one of the two sees both the answer and the leaving, and undoes the call.
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
    """Make the call in a new thread with the caller's context. A failure is only logged, as no caller waits."""

    def quietly() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - a thread's last frame; the SDK raises errors of many libraries
            logger.info("a background call failed: %s", type(error).__name__)
        finally:
            _BACKGROUND.release()

    if not _BACKGROUND.acquire(blocking=False):
        logger.warning("a background call was not made: %d others are in progress", MOST_BACKGROUND)
        return
    # The context holds the user's token, which the call needs after the run has ended.
    threading.Thread(target=copy_context().run, args=(quietly,), daemon=True).start()
