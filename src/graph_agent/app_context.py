"""The settings of one app, and what was made from them: clients, models, sessions, threads.

Code in a graph calls `current_app()` when it needs a setting or a client. A run enters the context of its app, which
follows it into its tasks and into threads that LangGraph and asyncio start. Outside of any app, as in LangGraph Studio
and in notebooks, the environment of the process is used.
"""

import asyncio
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

from graph_agent.lazy import LazyValue
from graph_agent.settings import PREFIX, Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLOSE_SECONDS = 1.0
"""How long closing an app waits until its values are closed. Databricks Apps kills a process 15 s after SIGTERM."""

PREFIXES = (PREFIX, "DATABRICKS_", "ARM_", "GOOGLE_")
"""The prefixes of the variables that settings or the Databricks SDK read."""

NAMES = ("HOME", "XDG_CACHE_HOME")
"""More variables on which settings depend."""


class AppContext:
    """The settings of one app and the environment that its clients read. It also keeps track of `PerApp` values.

    Clients find the workspace and their credentials in `environ`; without it, in the environment of the process.
    """

    __slots__ = ("__weakref__", "_kept", "_lock", "environ", "settings")

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self._kept: WeakSet[PerApp[Any]] = WeakSet()
        self._lock = threading.Lock()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within this context, `current_app()` is this app, also in tasks that start in it."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    async def aclose(self) -> None:
        """Close and forget every value that was made for this app, within `CLOSE_SECONDS`.

        The app stays usable: a value that is needed later is made again.
        """
        # Taken out under the lock and closed without it: closing may make another value of this app.
        with self._lock:
            kept = list(self._kept)
            self._kept.clear()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                results = await asyncio.gather(*(one.close(self) for one in kept), return_exceptions=True)
        except TimeoutError:
            logger.warning("closing the clients of an app took longer than %g s", CLOSE_SECONDS)
            return
        for error in results:
            if isinstance(error, Exception):
                logger.warning("a client of an app could not be closed (%s)", type(error).__name__)

    def keep(self, made: "PerApp[Any]") -> None:
        """Close this value with the app."""
        with self._lock:
            self._kept.add(made)


_CURRENT: ContextVar[AppContext | None] = ContextVar("graph_agent_app", default=None)


def current_app() -> AppContext:
    """The app for which this code runs. Outside of any app, one made from the current environment of the process.

    Raises:
        BadSetting: outside of any app, when a variable of the environment is wrong.
    """
    return _CURRENT.get() or _PROCESS.app()


def current_settings() -> Settings:
    """The settings of `current_app()`."""
    return current_app().settings


class _Process:
    """The app made from the environment of the process. It is made again when a variable has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Mapping[str, str] = {}
        self._app: AppContext | None = None

    def app(self) -> AppContext:
        # A list of names first, then one by one: another thread may change the environment meanwhile.
        named = [name for name in list(os.environ) if name.startswith(PREFIXES) or name in NAMES]
        seen = {name: os.environ.get(name, "") for name in named}
        with self._lock:
            if self._app is None or seen != self._seen:
                self._app, self._seen = AppContext(Settings.from_environment()), seen
            return self._app


_PROCESS = _Process()


class PerApp(Generic[T]):
    """A value of which each app has its own. One thread makes it on first use, and it is closed with the app.

    `make` runs in the context of the app and must not keep a reference to the app. A failure is not kept: the next
    call tries again. `close` gets the value when the app is closed. It may be a coroutine function.
    """

    def __init__(
        self, make: Callable[[], T], *, close: Callable[[T], Awaitable[None] | None] = lambda value: None
    ) -> None:
        self._make = make
        self._close = close
        self._made: WeakKeyDictionary[AppContext, LazyValue[T]] = WeakKeyDictionary()

    def __call__(self) -> T:
        """The value for `current_app()`. Blocks until it is made."""
        return self._of(current_app())()

    @property
    def ready(self) -> bool:
        """Whether a call returns immediately."""
        return self._of(current_app()).ready

    async def close(self, app: AppContext) -> None:
        """Close and forget the value that was made for `app`."""
        made = self._made.pop(app, None)
        # A value that is still being made is not waited for.
        if made is None or not made.ready:
            return
        closing = self._close(made())
        if inspect.isawaitable(closing):
            await closing

    def _of(self, app: AppContext) -> LazyValue[T]:
        made = self._made.get(app)
        if made is None:
            # `setdefault`, so that two threads agree on one value. A weak reference, because a value kept for an app
            # must not keep the app alive.
            made = self._made.setdefault(app, LazyValue(partial(self._made_for, ref(app))))
            app.keep(self)
        return made

    def _made_for(self, app: Callable[[], AppContext | None]) -> T:
        here = app()
        # The caller is in the context of the app, which keeps it alive.
        assert here is not None
        with here.entered():
            return self._make()
