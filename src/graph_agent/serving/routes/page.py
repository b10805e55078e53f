"""`/`, or `/page/` beside a chat app: the chat page, with its files, its settings and its logo.

They are public: they hold nothing secret.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from graph_agent.errors import RouteNotFound
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import Schema
from graph_agent.protocol.wire_schemas import BOOLEAN, COUNT, STRING, TEXT_OR_NULL, closed, enum
from graph_agent.serving.operations import Answer, Answers, described
from graph_agent.serving.page_build import Build, PageBuild
from graph_agent.serving.page_headers import IMAGE, PAGE
from graph_agent.serving.page_logo import Logo
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.static_files import file_answer
from graph_agent.settings import Settings
from graph_agent.threads import run_in_service_thread

SETTINGS, LOGO, ASSETS = "/page/settings.json", "/page/logo", "/assets/"

TITLE = "graph-agent"

FOREVER = "public, max-age=31536000, immutable"
"""For files whose name changes with their content."""

NOT_BUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>graph-agent</title></head>
<body>
<h1>The chat page is not built</h1>
<p>This service runs, and its API works. To get its chat page, run <code>make page</code> in the checkout of
graph-agent, and reload this page. If the package is a copy of that checkout in another environment,
install it again afterwards: <code>pip install --no-deps --force-reinstall FOLDER</code>, and start the service again. A
wheel of <code>make release</code> has the page.</p>
<p>To serve no page here, set <code>GRAPH_AGENT_PAGE=off</code>.</p>
</body>
</html>
"""


MOVED = "/page"
"""Where the page is if a chat app is at `/`."""


def is_page_path(path: str, *, at: str = "") -> bool:
    """Whether an address belongs to the page and not to the API. Then it needs no token.

    `at` is `MOVED` if the page has moved, and empty otherwise.
    """
    # Without the slash it is redirected to the page.
    return path in (at or "/", f"{at}/", SETTINGS, LOGO) or path.startswith(f"{at}{ASSETS}")


TAG = "Chat page"

ANY: Schema = {"type": "string"}


def _index(_: Dialect) -> Answers:
    return {
        200: Answer("The page.", {"text/html": ANY}),
        304: Answer("The caller has it."),
        503: Answer("The page is not built.", {"text/html": ANY}),
    }


def _file(_: Dialect) -> Answers:
    return {200: Answer("The file.", {"*/*": ANY}), 304: Answer("The caller has it.")}


class PageRoutes:
    """The chat page. It is at `at`, which is empty or `MOVED`."""

    def __init__(
        self,
        *,
        settings: Settings,
        build: PageBuild,
        logo: Logo | None,
        app_name: str | None,
        needs_token: bool,
        at: str = "",
    ) -> None:
        self._at = at
        self._build = build
        self._logo = logo
        self._settings: Mapping[str, Any] = {
            "title": settings.page_title or app_name or TITLE,
            "logo": logo is not None,
            "color": settings.page_color,
            "color_dark": settings.page_color_dark or settings.page_color,
            "greeting": settings.page_greeting,
            "disclaimer": settings.page_disclaimer,
            "sign_in": "token" if needs_token else "none",
            "feedback": settings.tracing == "on",
            "trace_links": settings.tracing == "on" and settings.trace_url is not None,
            "unanswered": settings.unanswered,
            "max_body_bytes": settings.max_body_bytes,
            "version": version("graph-agent"),
        }

    def routes(self) -> list[Route]:
        """The routes of the app."""
        routes = [
            route(f"{self._at}/", GET=self.index),
            route(f"{self._at}{ASSETS}{{name}}", GET=self.asset),
            route(SETTINGS, GET=self.settings),
        ]
        return routes if self._logo is None else [*routes, route(LOGO, GET=self.logo)]

    @described(TAG, _index)
    async def index(self, request: Request) -> Response:
        """The page."""
        build = await self._built()
        if build is None:
            return HTMLResponse(NOT_BUILT, 503, headers={**PAGE, "cache-control": "no-store"})
        return file_answer(request, build.index, headers=PAGE, cache="no-cache")

    @described(TAG, _file, errors=(RouteNotFound,))
    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        build = await self._built()
        file = None if build is None else build.assets.get(request.path_params["name"])
        if file is None:
            raise RouteNotFound("the chat page has no such file; reload the page")
        return file_answer(request, file, headers=PAGE, cache=FOREVER)

    @described(
        TAG,
        closed(
            "PageSettings",
            {
                "title": STRING,
                "logo": BOOLEAN,
                "color": TEXT_OR_NULL,
                "color_dark": TEXT_OR_NULL,
                "greeting": TEXT_OR_NULL,
                "disclaimer": TEXT_OR_NULL,
                "sign_in": enum("token", "none"),
                "feedback": BOOLEAN,
                "trace_links": BOOLEAN,
                "unanswered": enum("restate", "reject"),
                "max_body_bytes": COUNT,
                "version": STRING,
            },
        ),
        says="The settings of the page.",
    )
    async def settings(self, request: Request) -> Response:
        """What the operator has set for the page."""
        answer = json_answer(self._settings)
        answer.headers.update({**PAGE, "cache-control": "no-cache"})
        return answer

    @described(TAG, _file)
    async def logo(self, request: Request) -> Response:
        """The logo."""
        assert self._logo is not None
        headers = {**IMAGE, "cache-control": "public, max-age=300"}
        return Response(self._logo.body, media_type=self._logo.media_type, headers=headers)

    async def _built(self) -> Build | None:
        return self._build.kept or await run_in_service_thread(self._build.read)
