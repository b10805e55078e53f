"""Loads the graphs that `langgraph.json` lists, and reloads them after edits.

LangGraph Studio reads the same manifest: `{"graphs": {"name": "./file.py:variable"}}`. The variable holds a compiled
graph, a `StateGraph`, or a factory: a function or context manager, sync or async, that takes no argument or the
config. Source: LangGraph CLI configuration reference.
"""

import asyncio
import importlib.util
import inspect
import itertools
import logging
import os
import sys
from collections.abc import Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from graph_agent.app_context import AppContext
from graph_agent.catalog.cards import GraphCard
from graph_agent.catalog.factories import Factories
from graph_agent.catalog.manifest import GraphSpec, check_graph_name, read_manifest
from graph_agent.catalog.servable import servable_graph
from graph_agent.catalog.sibling_modules import GRAPHS, with_own_modules
from graph_agent.errors import AgentError, GraphNotLoaded, NotReady, UnknownGraph
from graph_agent.foreign_errors import describe_error, dev_traceback
from graph_agent.redaction import HIDDEN_VALUES, redact, secrets_of
from graph_agent.threads import run_in_service_thread

logger = logging.getLogger(__name__)

Graph = Pregel[Any, Any, Any, Any]

_versions = itertools.count()


class Catalog:
    """The graphs of one manifest. Call `await open()` before use and `await aclose()` at the end.

    With `reload=True`, a request for a graph whose folder has changed gets the edited graph. If the edited graph does
    not load, the error is logged and the last good graph stays in use. With `manifest` as well, `refresh()` applies
    edits of the manifest. Graphs are loaded in the context of `app`, or in the caller's context without it.
    """

    def __init__(
        self,
        specs: list[GraphSpec],
        *,
        default: str | None = None,
        reload: bool = False,
        manifest: Path | None = None,
        app: AppContext | None = None,
    ) -> None:
        self._app = app
        self._specs = {spec.name: spec for spec in specs}
        if default is not None:
            check_graph_name(default, specs)
        self._chosen = default
        self.default = default or specs[0].name
        self._reload = reload
        self._manifest = manifest if reload else None
        self._manifest_seen = _written(manifest) if self._manifest and manifest else None
        self._graphs: dict[str, Graph] = {}
        self._broken: dict[str, GraphNotLoaded] = {}
        self._modules: dict[str, ModuleType] = {}
        self._seen: dict[str, Mapping[Path, int]] = {}
        self._factories = Factories()
        self._folders = {spec.path.parent for spec in specs}
        self._loading = asyncio.Lock()

    @property
    def names(self) -> list[str]:
        """The name of every graph, in the manifest's order."""
        return list(self._specs)

    @property
    def broken(self) -> Mapping[str, GraphNotLoaded]:
        """Graphs that did not load, with the reason. Only with `reload=True` are the others served without them."""
        return {name: error for name, error in self._broken.items() if name not in self._graphs}

    @property
    def cards(self) -> Mapping[str, GraphCard]:
        """The name of every graph with what the manifest tells people about it, in the manifest's order."""
        return {name: spec.card for name, spec in self._specs.items()}

    def compaction_model(self, name: str) -> str | None:
        """The model that the manifest names for summaries of conversations with this graph."""
        spec = self._specs.get(name)
        return None if spec is None else spec.compaction_model

    async def open(self) -> None:
        """Load every graph.

        Raises:
            GraphNotLoaded: the first graph that does not load, with its name and the reason. With `reload=True` the
                error is kept for requests of that graph instead, because its author can fix it while the service runs.
        """
        for spec in self._specs.values():
            await self._open(spec)

    async def refresh(self) -> None:
        """Apply edits of the manifest. Does nothing without `reload` and `manifest`.

        New and moved graphs are loaded, and removed graphs are no longer served. If the manifest cannot be read, the
        error is logged and the previous graphs stay in use.
        """
        if self._manifest is None or _written(self._manifest) == self._manifest_seen:
            return
        async with self._loading:
            # Compared again: another request may have applied the edit while this one waited for the lock.
            now = _written(self._manifest)
            if now == self._manifest_seen:
                return
            self._manifest_seen = now
            try:
                specs = read_manifest(self._manifest)
            except GraphNotLoaded as error:
                logger.error("%s; the previous graphs stay in use", error.message)
                return
            await self._apply(specs)
            logger.info("%s was read again: %s", self._manifest.name, ", ".join(self._specs))

    async def warm(self, *, seconds: float) -> None:
        """Do the work that the first run of each graph would otherwise wait for, for at most `seconds`.

        Calls `warm()` of every object that has `async def warm()` and is in a variable of a graph's file, or in a list
        there: `chat_model()` and `DocumentSearch` for example. A failure is logged; it occurs again on first use.
        """
        values = [value for module in self._modules.values() for value in vars(module).values()]
        every = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
        # By identity: one model may be in several variables.
        able = {id(one): one for one in every if inspect.iscoroutinefunction(getattr(type(one), "warm", None))}
        try:
            with self._entered():
                async with asyncio.timeout(seconds):
                    results = await asyncio.gather(*map(_warm, able.values()), return_exceptions=True)
        except TimeoutError:
            message = "models and tools of the graphs were not ready within %g s; the first runs will wait for them"
            logger.warning(message, seconds)
            return
        for error in results:
            if isinstance(error, BaseException):
                reason = error.message if isinstance(error, AgentError) else describe_error(error)
                logger.warning("a model or tool of a graph is not ready: %s", reason)

    async def aclose(self) -> None:
        """Exit the context managers that made graphs."""
        await self._factories.aclose()

    async def get(self, name: str | None) -> Graph:
        """The graph with that name, or the default graph for `None`.

        Raises:
            UnknownGraph: there is no such graph.
            NotReady: the graph did not load. The message says why, since this happens only with `reload=True`, where
                the reader is the graph's author.
        """
        name = name or self.default
        if self._reload:
            async with self._loading:
                if spec := self._specs.get(name):
                    await self._refresh(spec)
        if name not in self._specs:
            raise UnknownGraph(f"no graph named {name!r}; known: {', '.join(self._specs)}", param="model")
        if name not in self._graphs:
            raise NotReady(f"{self._broken[name].message}; fix it and send the request again")
        return self._graphs[name]

    async def _apply(self, specs: list[GraphSpec]) -> None:
        before, self._specs = self._specs, {spec.name: spec for spec in specs}
        self._folders |= {spec.path.parent for spec in specs}
        self.default = self._chosen if self._chosen in self._specs else specs[0].name
        for name in [name for name, spec in before.items() if self._specs.get(name) != spec]:
            for table in (self._graphs, self._broken, self._modules, self._seen):
                table.pop(name, None)
        for spec in specs:
            if before.get(spec.name) != spec:
                await self._open(spec)

    async def _open(self, spec: GraphSpec) -> None:
        # Noted before loading: an edit during the load must count as a change.
        self._seen[spec.name] = _modified(spec.path.parent) if self._reload else {}
        try:
            self._graphs[spec.name] = await self._load(spec)
        except GraphNotLoaded as error:
            if not self._reload:
                raise
            logger.error(error.message, extra=dev_traceback(error.__cause__ or error))
            self._broken[spec.name] = error

    async def _refresh(self, spec: GraphSpec) -> None:
        now = await run_in_service_thread(_modified, spec.path.parent)
        if now == self._seen[spec.name]:
            return
        self._seen[spec.name] = now
        try:
            self._graphs[spec.name] = await self._load(spec)
            logger.info("graph %s reloaded", spec.name)
        except GraphNotLoaded as error:
            self._broken[spec.name] = error
            message = "%s; the version loaded before, if any, stays in use"
            logger.error(message, error.message, extra=dev_traceback(error.__cause__ or error))

    async def _load(self, spec: GraphSpec) -> Graph:
        try:
            with self._entered():
                return await self._made(spec)
        finally:
            # A graph's file may read secrets into variables or into the environment. They are redacted from now on.
            _learn_secrets(self._modules.get(spec.name))

    def _entered(self) -> AbstractContextManager[None]:
        return nullcontext() if self._app is None else self._app.entered()

    async def _made(self, spec: GraphSpec) -> Graph:
        module = self._modules[spec.name] = await run_in_service_thread(_import, spec, self._folders)
        try:
            made = getattr(module, spec.variable)
        except AttributeError:
            there = [name for name, one in vars(module).items() if isinstance(one, Pregel | StateGraph)]
            file, graphs = spec.path.name, ", ".join(there) or "none"
            raise GraphNotLoaded(
                f"graph {spec.name!r}: {file} has no variable {spec.variable!r}; its graphs: {graphs}",
                param=spec.name,
            ) from None
        try:
            graph = await self._factories.make(made)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the factory is third-party code
            place = describe_error(error, own=spec.path.parent)
            logger.error("graph %s: its factory failed: %s", spec.name, place, extra=dev_traceback(error))
            raise GraphNotLoaded(
                f"the factory of graph {spec.name!r} failed ({type(error).__name__})", param=spec.name
            ) from None
        return servable_graph(graph, name=spec.name, variable=spec.variable)


def _learn_secrets(module: ModuleType | None) -> None:
    kept = vars(module) if module is not None else {}
    HIDDEN_VALUES.add(
        [*secrets_of(os.environ), *secrets_of({name: one for name, one in kept.items() if isinstance(one, str)})]
    )


async def _warm(one: Any) -> None:
    # Called inside of a coroutine: a `warm` of another library may take arguments. The call then raises, which must
    # end only this task.
    await one.warm()


def _import(spec: GraphSpec, graph_folders: Set[Path]) -> ModuleType:
    """Execute the file as a new module with a unique name. Like a script, it can import what is in its folder."""
    name = f"{GRAPHS}{spec.path.stem}_{next(_versions)}"
    found = importlib.util.spec_from_file_location(name, spec.path)
    if not spec.path.exists():
        raise GraphNotLoaded(f"graph {spec.name!r}: {spec.path} does not exist", param=spec.name)
    if found is None or found.loader is None or not spec.path.is_file():
        raise GraphNotLoaded(f"graph {spec.name!r}: {spec.path} is not a Python file", param=spec.name)
    module = importlib.util.module_from_spec(found)
    # Registered first: dataclasses and type hints look up their module while it is executed.
    sys.modules[name] = module
    try:
        with with_own_modules(spec.path.parent, graph_folders):
            sys.path.extend(str(one) for one in spec.folders if str(one) not in sys.path)
            # Compiled from source each time: Python's bytecode cache compares whole seconds, and edits can be faster.
            exec(compile(spec.path.read_text(encoding="utf-8"), str(spec.path), "exec"), module.__dict__)
    except GraphNotLoaded:
        del sys.modules[name]
        raise
    # The graph's file is third-party code.
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise GraphNotLoaded(f"graph {spec.name!r} did not load: {_why(spec, error)}", param=spec.name) from error
    return module


def _why(spec: GraphSpec, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        # The compiler's message is safe. The line of code that it quotes may hold a secret.
        return f"SyntaxError at {Path(error.filename or spec.path).name}:{error.lineno}: {error.msg}"
    if isinstance(error, ModuleNotFoundError):
        return f"no module named {error.name!r}; add it to the requirements"
    place = describe_error(error, own=spec.path.parent)
    if isinstance(error, NameError) and error.name:
        # A name in the code, and no value.
        return f"the name {error.name!r} is not defined ({place})"
    if isinstance(error, AgentError):
        # A message of this package, such as that of a node maker, and no foreign one.
        return f"{redact(error.message)} ({place})"
    return place


def _written(file: Path) -> int | None:
    """When the file was last written, in nanoseconds, or `None` if there is no file."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _modified(folder: Path) -> dict[Path, int]:
    """When each Python file of the folder was last written, in nanoseconds."""
    # Without files that cannot be read: editors make and remove files, and Emacs locks one with a link to nowhere.
    return {path: when for path in sorted(folder.glob("*.py")) if (when := _written(path)) is not None}
