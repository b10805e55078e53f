"""`/docs/`: the documentation, where it is built. It is public: it holds nothing secret."""

from collections.abc import Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from graph_agent.errors import RouteNotFound
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import Schema
from graph_agent.protocol.wire_schemas import STRING
from graph_agent.serving.documentation_build import NOT_FOUND, DocumentationBuild, Site
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.operations import Answer, Answers, described
from graph_agent.serving.page_headers import PAGE
from graph_agent.serving.routes.answers import route
from graph_agent.serving.static_files import StaticFile, file_answer
from graph_agent.threads import run_in_service_thread

AT = "/docs"

BASE = b"/__docs__/"
"""What the page for addresses that do not exist has in place of the site's own address: `site/hooks.py`."""

CHECKED, FOR_AN_HOUR = "no-cache", "public, max-age=3600"

NOT_BUILT = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>graph-agent</title></head>
<body>
<h1>The documentation is not built</h1>
<p>This service runs, and its API works. To read the documentation here, run <code>make docs</code> in the checkout of
graph-agent, and reload this page. The same pages are in the folder <code>docs</code> of the checkout. If the package is
a copy of that checkout in another environment, install it again afterwards:
<code>pip install --no-deps --force-reinstall FOLDER</code>, and start the service again. A wheel of
<code>make release</code> has the documentation.</p>
<p>To serve no documentation, set <code>GRAPH_AGENT_DOCS=off</code>.</p>
</body>
</html>
"""


def is_documentation_path(path: str) -> bool:
    """Whether an address belongs to the documentation. Then it needs no token."""
    return path == AT or path.startswith(f"{AT}/")


TAG = "Documentation"


def _answers(_: Dialect) -> Answers:
    page: Mapping[str, Schema] = {"text/html": STRING}
    return {
        200: Answer("The page or file.", {"*/*": STRING}),
        304: Answer("The caller has it."),
        307: Answer("The page is at the address with a slash.", headers={"location": "That address."}),
        404: Answer("There is no such page.", page),
        503: Answer("The documentation is not built.", page),
    }


class DocumentationRoutes:
    """The documentation."""

    def __init__(self, build: DocumentationBuild) -> None:
        self._build = build

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [route(AT, GET=self.read), route(f"{AT}/{{path:path}}", GET=self.read)]

    @described(TAG, _answers, errors=(RouteNotFound,))
    async def read(self, request: Request) -> Response:
        """A page or another file of the site."""
        site = self._build.kept or await run_in_service_thread(self._build.read)
        if site is None:
            return HTMLResponse(NOT_BUILT, 503, headers={**PAGE, "cache-control": "no-store"})
        path = request.path_params.get("path")
        if path is None:
            return _add_slash(AT[1:], site)
        if f"{path}/index.html" in site.names:
            return _add_slash(path.rpartition("/")[2], site)
        name = f"{path}index.html" if path == "" or path.endswith("/") else path
        file = await _file(site, name)
        if file is None:
            return await _missing(request, site)
        return file_answer(request, file, headers=site.headers, cache=_cache(name))


def _add_slash(last: str, site: Site) -> Response:
    # Relative, so that it is right behind any prefix.
    return RedirectResponse(f"{last}/", 307, headers={**site.headers, "cache-control": CHECKED})


def _cache(name: str) -> str:
    return FOR_AN_HOUR if name.startswith("assets/") else CHECKED


async def _file(site: Site, name: str) -> StaticFile | None:
    return site.kept(name) or await run_in_service_thread(site.read, name)


async def _missing(request: Request, site: Site) -> Response:
    file = await _file(site, NOT_FOUND)
    page = b"<!doctype html><title>Not found</title>Not found" if file is None else file.body
    here = quote(f"{prefix_of(request.scope)}{AT}/").encode()
    return HTMLResponse(page.replace(BASE, here), 404, headers={**site.headers, "cache-control": "no-store"})
