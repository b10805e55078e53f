"""The settings of one app, and what was made for them: clients, models, sessions, threads.

Code that runs in a graph asks `current_app()` when it needs a setting or a client. A run enters the context of its app,
which follows it into its tasks and into threads that LangGraph and asyncio start. Outside of any app, as in LangGraph
Studio and in notebooks, the environment of the process is the app.
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
"""How long closing an app waits for what was made for it. Databricks Apps kills a process 15 s after SIGTERM."""

PREFIXES = (PREFIX, "DATABRICKS_", "ARM_", "GOOGLE_")
"""How the names of variables begin that settings or the Databricks SDK read."""

NAMES = ("HOME", "XDG_CACHE_HOME")
"""Further variables that settings depend on."""


class AppContext:
    """The settings of one app and the environment that its clients read. It also keeps what `PerApp` makes for it.

    `environ` is where clients find the workspace and their credentials; without it, that is the process's environment.
    """

    __slots__ = ("__weakref__", "_kept", "_lock", "environ", "settings")

    def __init__(self, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self._kept: WeakSet[PerApp[Any]] = WeakSet()
        self._lock = threading.Lock()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it, `current_app()` is this one; tasks and copied contexts that begin within it keep it."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    async def aclose(self) -> None:
        """Close and forget what was made for it, within `CLOSE_SECONDS`. What is needed later is made anew."""
        with self._lock:
            kept = list(self._kept)
            self._kept.clear()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                results = await asyncio.gather(*(one.close(self) for one in kept), return_exceptions=True)
        except TimeoutError:
            logger.warning("closing what an app used took over %g s", CLOSE_SECONDS)
            return
        for error in results:
            if isinstance(error, Exception):
                logger.warning("something that an app used could not be closed (%s)", type(error).__name__)

    def keep(self, made: "PerApp[Any]") -> None:
        """Have it closed with the app."""
        with self._lock:
            self._kept.add(made)


_CURRENT: ContextVar[AppContext | None] = ContextVar("graph_agent_app", default=None)


def current_app() -> AppContext:
    """The app that this code runs for; outside of any app, the environment of the process as it is now.

    Raises:
        BadSetting: outside of any app, where a variable of the environment is wrong.
    """
    return _CURRENT.get() or _PROCESS.app()


def current_settings() -> Settings:
    """The settings of `current_app()`."""
    return current_app().settings


class _Process:
    """The app of the process's environment, made anew when a variable that it depends on has changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Mapping[str, str] = {}
        self._app: AppContext | None = None

    def app(self) -> AppContext:
        # Name by name: another thread may change the environment meanwhile.
        named = [name for name in list(os.environ) if name.startswith(PREFIXES) or name in NAMES]
        seen = {name: os.environ.get(name, "") for name in named}
        with self._lock:
            if self._app is None or seen != self._seen:
                self._app, self._seen = AppContext(Settings.from_environment()), seen
            return self._app


_PROCESS = _Process()


class PerApp(Generic[T]):
    """A value that each app has its own of. It is made on first use, by one thread for all, and goes with the app.

    `make` runs in the context of the app it is for, and must not keep a reference to that app. A failure is not kept:
    the next call tries again. `close` is called with the value when the app is closed; it may be a coroutine function.
    """

    def __init__(
        self, make: Callable[[], T], *, close: Callable[[T], Awaitable[None] | None] = lambda value: None
    ) -> None:
        self._make = make
        self._close = close
        self._made: WeakKeyDictionary[AppContext, LazyValue[T]] = WeakKeyDictionary()

    def __call__(self) -> T:
        """The value for `current_app()`. Blocks while it is made."""
        return self._of(current_app())()

    @property
    def ready(self) -> bool:
        """Whether a call returns immediately."""
        return self._of(current_app()).ready

    async def close(self, app: AppContext) -> None:
        """Close and forget the value that was made for `app`."""
        made = self._made.pop(app, None)
        if made is None or not made.ready:
            return
        closing = self._close(made())
        if inspect.isawaitable(closing):
            await closing

    def _of(self, app: AppContext) -> LazyValue[T]:
        made = self._made.get(app)
        if made is None:
            # Weak: what is kept for an app must not keep the app.
            made = self._made.setdefault(app, LazyValue(partial(self._made_for, ref(app))))
            app.keep(self)
        return made

    def _made_for(self, app: Callable[[], AppContext | None]) -> T:
        here = app()
        # Whoever asks holds it.
        assert here is not None
        with here.entered():
            return self._make()
