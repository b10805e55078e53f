"""Hooks of the build of the documentation site: pages that are made of the code, and what the service must know.

MkDocs calls the functions. Source: MkDocs 1.6, "Plugins", "Events".
"""

import ast
import base64
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src" / "graph_agent"

TUTORIALS = (
    "first-graph",
    "your-documents",
    "tools-and-approvals",
    "conversations-and-memory",
    "several-agents",
    "evaluate-and-gate",
    "deploy",
)
"""The order of the tutorials. Others follow by name."""

PYTHON_API = (
    ("Serving graphs", "create_app host_lifespan Settings Budgets logging_config GraphResponsesAgent"),
    ("What a graph receives", "AgentState AgentContext Caller Source PUBLIC_ERROR"),
    ("Models", "chat_model takes_logprobs"),
    ("Nodes", "make_planner requested_nodes make_retriever make_tools tool_fault"),
    ("Several agents", "make_supervisor make_agent Handoff route_handoffs hand_back"),
    ("Retrieval", "DocumentSearch RetrieverSearch Columns record_retrieval"),
    ("Citations", "CheckedCitations Citation citations_in citation_annotations"),
    (
        "Tools of the workspace",
        "McpServer McpTools uc_functions genie ToolSource ListedTools get_user_workspace_client",
    ),
    ("Tools of clients", "takes_client_tools ClientToolsMiddleware"),
    ("Ready-made tools", "calculator convert_units current_time memory_tools"),
    ("Secrets", "redact redact_value redact_async redact_value_async HIDDEN_VALUES"),
)
"""Groups of public names. Errors that are in none have a group of their own, and so have other names."""

GENERATED = ("reference/python.md", "reference/testing.md", "changelog.md")

NOT_SERVED = re.compile(r"\.map|\.gz|/lunr/|^sitemap\.xml|^assets/javascripts/lunr")
"""Files that no reader asks for."""

FOREIGN = ("https://unpkg.com/mermaid@11/dist/mermaid.min.js", "https://unpkg.com/resize-observer-polyfill")
"""What the theme's script would load from another host, for diagrams and for browsers of 2019. The site has no diagram
that needs it, and the policy of the service would refuse it."""

LOADS = re.compile(
    r"https?://[^\s\"'`()]+\.(?:js|css|woff2?)\b"
    r"|(?:url\(|@import )[\"']?(?:https?:)?//[^)]*"
)
"""What a script or a style sheet loads from another host."""

BASE_OF_404 = "/__docs__/"
"""Where the site is, on the page for addresses that do not exist. The service puts the real path in its place."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of two folders into the navigation."""
    nav = list(config.nav or [])
    tutorials = _pages(config, "tutorials", TUTORIALS)
    coming = _pages(config, "coming-from", ())
    if tutorials:
        nav.insert(1, {"Tutorials": tutorials})
    if coming:
        nav.append({"Coming from": coming})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of the code."""
    made = dict(zip(GENERATED, (_python_page(), _testing_page(), _changelog()), strict=True))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give the first page no list of pages beside it: it would hold only itself."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]
    return markdown


def on_template_context(context: Any, template_name: str, config: MkDocsConfig) -> Any:
    """Give the page for addresses that do not exist links that work from any address."""
    if template_name == "404.html":
        context["base_url"] = BASE_OF_404
    return context


def on_post_build(config: MkDocsConfig) -> None:
    """Remove what is not served, and write the manifest: every file, and the hashes of the inline scripts."""
    folder = Path(config.site_dir)
    files, scripts, styles = [], set(), set()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        if NOT_SERVED.search(name):
            path.unlink()
            continue
        files.append(name)
        if path.suffix in (".js", ".css"):
            path.write_text(_at_home(name, path.read_text(encoding="utf-8")), encoding="utf-8")
        elif path.suffix == ".html":
            inline = _Inline(name)
            inline.feed(path.read_text(encoding="utf-8"))
            inline.close()
            scripts |= inline.scripts
            styles |= inline.styles
    for empty in sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True):
        if not any(empty.iterdir()):
            empty.rmdir()
    manifest = {"files": files, "scripts": sorted(scripts), "styles": sorted(styles)}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _pages(config: MkDocsConfig, folder: str, order: tuple[str, ...]) -> list[str]:
    names = {path.stem for path in (Path(config.docs_dir) / folder).glob("*.md")}
    first = [one for one in ("index", *order) if one in names]
    return [f"{folder}/{one}.md" for one in [*first, *sorted(names - set(first))]]


def _python_page() -> str:
    public = set(_names(PACKAGE / "__init__.py"))
    grouped = {name for _, names in PYTHON_API for name in names.split()}
    errors = set(_classes(PACKAGE / "errors.py"))
    if gone := grouped - public:
        raise PluginError(f"site/hooks.py: PYTHON_API has names that are not public: {sorted(gone)}")
    others = (
        ("Errors", " ".join(sorted((public & errors) - grouped))),
        ("Others", " ".join(sorted(public - errors - grouped))),
    )
    groups = [one for one in (*PYTHON_API, *others) if one[1]]
    text = (
        "# Python API\n\nGraphs, tests and host apps import these names from `graph_agent`. Nothing else of the "
        "package is stable. The import is cheap: each name loads its module on first use.\n"
    )
    for title, names in groups:
        text += f"\n## {title}\n"
        for name in names.split():
            text += f"\n::: graph_agent.{name}\n"
    return text


def _testing_page() -> str:
    text = "# graph_agent.testing\n\nTest doubles for graphs and services: see [testing](../testing.md).\n"
    for name in _names(PACKAGE / "testing" / "__init__.py"):
        text += f"\n::: graph_agent.testing.{name}\n    options:\n      heading_level: 2\n"
    return text


def _changelog() -> str:
    return (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def _names(module: Path) -> list[str]:
    """The names in `__all__` of a module, without importing it."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return list(ast.literal_eval(node.value))
    raise PluginError(f"{module} has no __all__")


def _classes(module: Path) -> Iterator[str]:
    yield from (one.name for one in ast.parse(module.read_text(encoding="utf-8")).body if isinstance(one, ast.ClassDef))


def _at_home(name: str, text: str) -> str:
    for address in FOREIGN:
        text = text.replace(address, "data:text/javascript,")
    if found := LOADS.search(text):
        raise PluginError(f"{name} would load {found[0]} from another host")
    return text


class _Inline(HTMLParser):
    """The hashes of a page's inline scripts and styles. Stops the build at what the policy could not allow."""

    def __init__(self, name: str) -> None:
        super().__init__(convert_charrefs=False)
        self.scripts: set[str] = set()
        self.styles: set[str] = set()
        self._name = name
        self._hashes: set[str] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        # JSON in a script is data and is not run.
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self._hashes = self.scripts
        elif tag == "style":
            self._hashes = self.styles
        self._text = ""
        for name, value in attrs:
            if name.startswith("on"):
                raise PluginError(f"{self._name}: <{tag} {name}=…> is a script that the policy refuses")
            loads = name == "src" or (name == "href" and tag in ("link", "use", "image"))
            if loads and (value or "").startswith(("http:", "https:", "//")):
                raise PluginError(f"{self._name}: <{tag}> loads {value} from another host")

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style") and self._hashes is not None:
            digest = hashlib.sha256(self._text.encode()).digest()
            self._hashes.add(f"sha256-{base64.b64encode(digest).decode()}")
            self._hashes = None
