"""The app mounted in a host app: the prefix of its addresses, and its lifespan."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from graph_agent.errors import ConfigurationError

Lifespan = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""A lifespan as Starlette and FastAPI accept it: a function of the app that returns an asynchronous context manager."""

NOT_AN_APP = (
    "host_lifespan takes apps made by create_app, such as host_lifespan(agent); pass the host's own lifespan by name: "
    "host_lifespan(agent, own=lifespan)"
)


def host_lifespan(*apps: Starlette, own: Lifespan | None = None) -> Lifespan:
    """Make the lifespan of a host that mounts `apps`: `FastAPI(lifespan=host_lifespan(agent))`.

    Starlette and FastAPI do not run the lifespan of a mounted app, and without it no graph is loaded. `own` is the
    host's own lifespan. It begins before the lifespans of the apps and ends after them, and its state is the host's
    state.

    Raises:
        ConfigurationError: one of `apps` is not an app, for example because `own` was passed by position.
    """
    if not apps or not all(isinstance(app, Starlette) for app in apps):
        raise ConfigurationError(NOT_AN_APP)

    @asynccontextmanager
    async def lifespan(host: Any) -> AsyncIterator[Mapping[str, Any] | None]:
        async with AsyncExitStack() as stack:
            state = None if own is None else await stack.enter_async_context(own(host))
            # Without duplicates: one app may be mounted under two prefixes, and its lifespan must run once.
            for app in dict.fromkeys(apps):
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield state

    return lifespan


def prefix_of(scope: Scope) -> str:
    """The part of the request's address that belongs to the host, such as `/agent`, or an empty string."""
    prefix: str = scope.get("root_path", "")
    return prefix.rstrip("/")


def path_of(scope: Scope) -> str:
    """The request's path inside this app, such as `/responses`."""
    path: str = scope["path"]
    prefix = prefix_of(scope)
    return path[len(prefix) :] if path.startswith(f"{prefix}/") else path


class WholePath:
    """ASGI middleware, the outermost one: makes the path begin with the prefix, as the ASGI specification requires.

    The path lacks the prefix when the host has a `root_path` that its proxy removes: `FastAPI(root_path="/api")`.
    Starlette would not find the routes of a mounted app then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # No coroutine of its own, which would stay for as long as the answer is written.
        if scope["type"] in ("http", "websocket"):
            whole = f"{scope.get('app_root_path', '')}{scope['path']}"
            prefix = prefix_of(scope)
            if prefix and not scope["path"].startswith(f"{prefix}/") and whole.startswith(f"{prefix}/"):
                scope = {**scope, "path": whole}
        return self._app(scope, receive, send)
