"""The app inside another one: under which prefix it is asked, and how the host runs its lifespan."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import ConfigurationError

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""As Starlette and FastAPI take it: called with the app, it returns an asynchronous context manager."""

NOT_AN_APP = (
    "host_lifespan takes the apps that create_app made, such as host_lifespan(agent); pass the host's own lifespan by "
    "name: host_lifespan(agent, own=lifespan)"
)


def host_lifespan(*apps: Starlette, own: Lifespan | None = None) -> Lifespan:
    """The lifespan of a host that mounts `apps`: `FastAPI(lifespan=host_lifespan(agent))`.

    Starlette and FastAPI do not run the lifespan of a mounted app, and without it no graphs are loaded. `own` is the
    host's own lifespan: it begins before those of the apps and ends after them, and its state is the host's state.

    Raises:
        ConfigurationError: one of `apps` is not an app, or `own` was passed as one of them.
    """
    if not apps or not all(isinstance(app, Starlette) for app in apps):
        raise ConfigurationError(NOT_AN_APP)

    @asynccontextmanager
    async def lifespan(host: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        async with AsyncExitStack() as stack:
            state = None if own is None else await stack.enter_async_context(own(host))
            # Each once, also where one app is mounted under two prefixes.
            for app in dict.fromkeys(apps):
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield state

    return lifespan


def prefix_of(scope: Scope) -> str:
    """The part of the request's address that belongs to the host, such as `/agent`; empty where there is none."""
    prefix: str = scope.get("root_path", "")
    return prefix.rstrip("/")


def path_of(scope: Scope) -> str:
    """The request's path inside this app, such as `/responses`."""
    path: str = scope["path"]
    prefix = prefix_of(scope)
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else path


class WholePath:
    """ASGI middleware, the outermost: makes the path begin with the prefix, as ASGI wants it.

    It does not where the host is told a `root_path` that its proxy has cut off: `FastAPI(root_path="/api")`. Starlette
    would not find a mounted app's routes then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            whole = f"{scope.get('app_root_path', '')}{scope['path']}"
            prefix = prefix_of(scope)
            if prefix and not scope["path"].startswith(f"{prefix}/") and whole.startswith(f"{prefix}/"):
                scope = {**scope, "path": whole}
        await self._app(scope, receive, send)
