"""`create_app`: the only function that knows every room."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graph_agent.app_context import AppContext
from graph_agent.catalog.manifest import read_manifest
from graph_agent.databricks.clients import check_sign_in
from graph_agent.databricks.token_users import TokenUsers
from graph_agent.errors import AgentError, BadSetting, GraphNotLoaded, MethodNotAllowed, RouteNotFound, UnknownGraph
from graph_agent.foreign_errors import describe_error
from graph_agent.identity.caller import Kind
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.operator_files import operator_file
from graph_agent.protocol.dialects import OPENAI
from graph_agent.redaction import HIDDEN_VALUES, secrets_of
from graph_agent.runs.background import BackgroundLimits
from graph_agent.runs.compacting import Compaction
from graph_agent.runs.connection_memory import ConnectionMemories
from graph_agent.runs.ledger import Ledger
from graph_agent.runs.registry import Runs
from graph_agent.runs.steering import Steering
from graph_agent.serving.banner import banner_of
from graph_agent.serving.bearer_gate import BearerGate
from graph_agent.serving.built_folder import is_built
from graph_agent.serving.chat_app import ChatApp
from graph_agent.serving.chat_proxy import ChatProxy
from graph_agent.serving.chat_tickets import ChatTickets
from graph_agent.serving.connection import ConnectionLimits
from graph_agent.serving.cors import Cors
from graph_agent.serving.dependencies import Dependencies
from graph_agent.serving.documentation_build import BUILT as DOCUMENTATION
from graph_agent.serving.documentation_build import DocumentationBuild
from graph_agent.serving.duties import Duties
from graph_agent.serving.errors import error_response
from graph_agent.serving.gate import Gate
from graph_agent.serving.host_gate import HostGate, OriginGate
from graph_agent.serving.identity import Identity, on_apps, startup_warnings
from graph_agent.serving.limits import Bodies
from graph_agent.serving.metrics import ServiceMetrics
from graph_agent.serving.mounting import WholePath, prefix_of
from graph_agent.serving.open_sockets import OpenSockets
from graph_agent.serving.openapi import Access, OpenApiRoutes
from graph_agent.serving.page_build import BUILT, PageBuild
from graph_agent.serving.page_logo import read_logo
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.request_log import RequestLog
from graph_agent.serving.routes.ag_ui import AgUiRoutes
from graph_agent.serving.routes.agent_bricks import PATH, AgentBricksRoutes
from graph_agent.serving.routes.chat_completions import ChatCompletionRoutes
from graph_agent.serving.routes.compaction import CompactionRoutes
from graph_agent.serving.routes.conversations import ConversationRoutes
from graph_agent.serving.routes.documentation import DocumentationRoutes
from graph_agent.serving.routes.feedback import FeedbackRoutes
from graph_agent.serving.routes.mcp import McpRoutes
from graph_agent.serving.routes.memories import MemoryRoutes
from graph_agent.serving.routes.meta import MetaRoutes
from graph_agent.serving.routes.metrics import MetricsRoutes
from graph_agent.serving.routes.models import ModelRoutes
from graph_agent.serving.routes.page import MOVED, PageRoutes
from graph_agent.serving.routes.responses import ADDRESSES, HOST_SECONDS, ResponseRoutes
from graph_agent.serving.routes.sockets import SocketRoutes
from graph_agent.serving.routes.steering import SteerRoutes
from graph_agent.serving.routes.stored_responses import StoredResponseRoutes
from graph_agent.serving.routes.usage import UsageRoutes
from graph_agent.serving.socket_session import SocketLimits
from graph_agent.serving.socket_turns import SocketTurns
from graph_agent.serving.store_gate import StoreGate
from graph_agent.serving.unsupported import OtherWebSockets, alternative_to
from graph_agent.settings import NO_LIMITS, Settings, as_environment
from graph_agent.stores.opening import open_store
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.threads import PER_RUN, NodeThreads, run_in_service_thread
from graph_agent.trusted_hosts import is_loopback

if TYPE_CHECKING:
    from graph_agent.catalog.served_graphs import ServedGraphs
    from graph_agent.serving.service import Service

logger = logging.getLogger(__name__)

APPS_REPLY_SECONDS = 110.0
"""For a reply that is not a stream; the proxy of Databricks Apps answers 504 after 120 s."""

WARM_SECONDS = 40.0
"""How long `/ready` waits for imports and clients that the first run needs. Imports alone take seconds."""

ENDING_SECONDS = 2.5
"""How long the shutdown waits for runs that it has ended, so that their records and traces are complete."""

TRACE_DELIVERY_SECONDS = 5.0
"""How long the shutdown waits for the delivery of traces. Databricks Apps kills the process 15 s after SIGTERM."""


def create_app(
    settings: Settings,
    graphs: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    on_failed_start: Callable[[AgentError], None] | None = None,
    shares_store: bool = False,
    page_folder: Path = BUILT,
    docs_folder: Path = DOCUMENTATION,
    runs_schedules: bool = False,
    metrics_folder: Path | None = None,
    announces: bool = False,
) -> Starlette:
    """Make the ASGI app. It answers `/health` immediately, while a thread imports the graphs.

    The graphs are those that `settings.config` lists. With `graphs`, compiled graphs by name, no file is read.

    The graphs use `settings`. The clients read the workspace and the credentials from `environ`; without it, from the
    process's environment when a client is made. Each of several apps in one process uses its own.

    `on_failed_start` is called with the reason when the graphs could not be loaded or the store is not usable, for a
    server that stops then.

    `shares_store` says that other processes on this machine use the same SQLite file, so that the streams of stored
    responses are kept there too. Of a PostgreSQL store that is assumed.

    `page_folder` holds the chat page, as Vite builds it with a manifest. The default is the page of this package.

    `docs_folder` holds the documentation, as `make docs` builds it.

    With `runs_schedules`, the app begins the runs of `settings.schedules`, as `graph-agent serve` does. Without, it
    does not read that file. With `graphs`, files of schedules and webhooks are used only if the settings name them.

    With `announces`, the log also says where the service is, whom it serves, and what it keeps, when it is ready.

    `metrics_folder` is where the processes count that share a port: see `serving.workers`.

    Raises:
        BadSetting: `settings.page_logo` is not an image that the page can show, a variable of the chat app is wrong, or
            everybody could read the metrics.
        ConfigurationError: `graphs` is empty, or a graph in it cannot be served (`GraphNotLoaded`).
        UnknownGraph: `graphs` has no `settings.default_graph`.
    """
    environ = os.environ if environ is None else environ
    built = None if graphs is None else _built(graphs, settings)
    context = AppContext(settings, environ)
    # For the whole process: one app must not reveal a secret of another app or of its host.
    HIDDEN_VALUES.add([*secrets_of(environ), *secrets_of(as_environment(settings)), *settings.compaction_secrets])
    gate = Gate(wait_seconds=settings.startup_wait_seconds)
    chat = ChatApp.from_environment(environ)
    identity = Identity.from_environment(
        environ,
        local_user=settings.local_user,
        authorization=settings.authorization,
        user_header=settings.user_header,
        user_of=TokenUsers(context).user_of,
        tickets=None if chat is None else ChatTickets.from_environment(environ),
    )
    tokenless = settings.bearer_token is None and not on_apps(environ)
    nodes = NodeThreads(settings.max_runs * PER_RUN)
    store = StoreGate(lambda: open_store(settings, context), on_failed_start=on_failed_start)
    ledger = None
    if settings.usage_days or settings.limits != NO_LIMITS:
        ledger = Ledger(store.passed, limits=settings.limits, usage_days=settings.usage_days)
    runs = Runs(
        budgets=settings.budgets,
        most=settings.max_runs,
        grace_seconds=settings.grace_seconds,
        waits=settings.busy == "wait",
        memories=store.passed,
        rejects_unanswered=settings.unanswered == "reject",
        ignores_tools=settings.client_tools == "ignore",
        shares=shares_store,
        background=BackgroundLimits(
            here=settings.max_background_runs,
            per_owner=settings.max_background_runs_per_owner,
            in_all=settings.max_background_runs_in_all,
            queued=settings.max_queued_runs,
            seconds=settings.background_seconds,
        ),
        open_store=store.passed,
        event_log_seconds=settings.event_log_seconds,
        ledger=ledger,
        compaction=Compaction(settings.compaction_secrets, open_store=store.passed),
    )
    open_sockets = OpenSockets(most=settings.max_sockets)
    metrics = None
    if _has_metrics(settings, environ):
        metrics = ServiceMetrics(
            runs=runs, nodes=nodes, store=store.passed, sockets=open_sockets, folder=metrics_folder
        )
    duties = Duties(runs=runs, store=store, shares_store=shares_store, sockets=open_sockets)
    kind = identity.kind if runs_schedules else None
    bodies = Bodies(most=settings.max_body_bytes, seconds=settings.read_seconds)
    posted = PostedJson(bodies=bodies, runs=runs, pages_may_ask=not tokenless)
    dependencies = _dependencies(context, store)
    meta = MetaRoutes(
        gate=gate,
        runs=runs,
        nodes=nodes,
        dependencies=dependencies,
        app_name=environ.get("DATABRICKS_APP_NAME"),
    )
    models = ModelRoutes(gate=gate)
    reply_seconds = settings.reply_seconds or (APPS_REPLY_SECONDS if on_apps(environ) else None)
    responses = ResponseRoutes(
        settings=settings,
        identity=identity,
        gate=gate,
        runs=runs,
        store=store,
        bodies=bodies,
        posted=posted,
        reply_seconds=reply_seconds,
    )

    compaction = CompactionRoutes(
        identity=identity, gate=gate, runs=runs, store=store, posted=posted, reply_seconds=reply_seconds
    )
    chats = ChatCompletionRoutes(
        settings=settings,
        identity=identity,
        gate=gate,
        runs=runs,
        bodies=bodies,
        posted=posted,
        reply_seconds=reply_seconds,
    )
    ag_ui = AgUiRoutes(
        settings=settings,
        identity=identity,
        gate=gate,
        runs=runs,
        store=store,
        bodies=bodies,
        posted=posted,
    )
    mcp = McpRoutes(identity=identity, gate=gate, runs=runs, store=store, posted=posted)
    stored = StoredResponseRoutes(
        identity=identity,
        store=store,
        runs=runs,
        posted=posted,
        keepalive_seconds=settings.keepalive_seconds,
        write_seconds=settings.write_seconds + HOST_SECONDS,
        acts_for_users=settings.authorization != "app",
    )
    memories_of_sockets = ConnectionMemories(
        MemoryStore, forgotten=runs.forget_thread, most_bytes=settings.socket_memory_bytes
    )
    steering = Steering(runs, counted=None if metrics is None else metrics.steered)
    sockets = SocketRoutes(
        identity=identity,
        turns=SocketTurns(
            settings=settings,
            identity=identity,
            gate=gate,
            runs=runs,
            store=store,
            repeats=responses.repeats,
            repeated=responses.repeated,
            steering=steering,
        ),
        memories=memories_of_sockets,
        bodies=bodies,
        limits=SocketLimits(
            seconds=settings.socket_seconds,
            idle_seconds=settings.socket_idle_seconds,
            write_seconds=settings.write_seconds + HOST_SECONDS,
        ),
        sockets=open_sockets,
        failed=None if metrics is None else metrics.answered,
    )
    steers = SteerRoutes(identity=identity, gate=gate, store=store, steering=steering, posted=posted)
    agent_bricks = AgentBricksRoutes(
        responses=responses, stored=stored, gate=gate, identity=identity, store=store, posted=posted
    )
    feedback = FeedbackRoutes(identity=identity, gate=gate, store=store, posted=posted, trace_url=settings.trace_url)
    conversations = ConversationRoutes(
        identity=identity, gate=gate, store=store, posted=posted, runs=runs, trace_url=settings.trace_url
    )
    usage = UsageRoutes(settings=settings, identity=identity, store=store, ledger=ledger)
    memories = MemoryRoutes(identity=identity, gate=gate, store=store, posted=posted, runs=runs)

    page = _page_routes(settings, environ, page_folder, at=_page_at(chat))
    proxy = None
    if chat is not None:
        proxy = ChatProxy(chat, bodies=bodies, connections=settings.max_connections, ticket=identity.ticket)

    described = OpenApiRoutes(
        routes=lambda: app.routes, access=Access.of(settings, apps=on_apps(environ), page_at=_page_at(chat))
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        gate.begin()
        store.begin()
        runs.accept()
        open_sockets.accept()
        for warning in startup_warnings(settings, environ):
            logger.warning(warning)
        if chat is not None and on_apps(environ):
            logger.info("the chat app at port %d asks for the users whom the proxy of this app names", chat.port)
        # Only on Apps, where nobody waits for the start. On a laptop a quick start matters more than the first run.
        loading = asyncio.create_task(
            _load(
                context,
                built,
                gate,
                duties,
                metrics,
                on_failed_start,
                warm=on_apps(environ),
                announces=announces,
                unbuilt=_unbuilt(settings, page_folder, docs_folder),
                schedules_of=kind,
            )
        )
        try:
            async with nullcontext() if proxy is None else proxy.open():
                yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            service = gate.service
            gate.end()
            # Our own server has drained the runs by now. A host's server stops without knowing about them.
            await duties.aclose(within_seconds=ENDING_SECONDS)
            if metrics is not None:
                await metrics.aclose()
            await dependencies.aclose()
            if ledger is not None:
                # After the runs, which it counts.
                await ledger.aclose()
            # After the runs, which record their ends in it, and before the clients, with which it signs in.
            await memories_of_sockets.aclose()
            await store.aclose()
            if service is not None:
                await _close(service)
            # Last, because the tracer delivers traces with the clients of this context.
            await context.aclose()

    app = Starlette(
        routes=[
            *responses.routes(elsewhere=PATH),
            *agent_bricks.routes(),
            *sockets.routes(),
            *chats.routes(),
            *ag_ui.routes(),
            # Before those with the id of a response in their place.
            *compaction.routes(),
            *(mcp.routes() if settings.mcp == "on" else ()),
            *stored.routes(),
            *steers.routes(),
            *feedback.routes(),
            *conversations.routes(),
            *memories.routes(),
            *usage.routes(),
            *models.routes(),
            *meta.routes(),
            *([] if metrics is None else MetricsRoutes(metrics, only_loopback=settings.metrics == "auto").routes()),
            *described.routes(),
            *page,
            *_documentation_routes(settings, docs_folder),
        ],
        lifespan=lifespan,
        middleware=_middleware(settings, environ, page_at=_page_at(chat), metrics=metrics),
        exception_handlers={AgentError: _agent_error, HTTPException: _http_error},
    )
    if proxy is not None:
        app.router.default = proxy
    # Only our own server applies these, because its loop serves nothing else. A host owns its loop and threads.
    app.state.drain, app.state.nodes = duties.drain, nodes
    app.state.connection_limits = ConnectionLimits.of(settings)
    return app


def _dependencies(context: AppContext, store: StoreGate) -> Dependencies:
    """What `/ready` asks. No model: that would cost tokens, each graph may have another one, and a process that gets no
    requests any more would not heal it."""

    async def ask_store() -> None:
        await (await store.passed()).runs.has_open()

    async def ask_workspace() -> None:
        with context.entered():
            await check_sign_in()

    return Dependencies({"the store": ask_store, "the workspace": ask_workspace})


def _page_at(chat: ChatApp | None) -> str:
    """Where the page is, as in `is_page_path`. A chat app takes its place."""
    return "" if chat is None else MOVED


def _page_routes(settings: Settings, environ: Mapping[str, str], folder: Path, *, at: str) -> list[Route]:
    """The routes of the chat page, or none if the settings switch it off."""
    if settings.page == "off":
        return []
    page = PageRoutes(
        settings=settings,
        build=PageBuild(folder, reload=settings.reload == "on", below=at != ""),
        logo=None if settings.page_logo is None else read_logo(settings.page_logo),
        app_name=environ.get("DATABRICKS_APP_NAME"),
        needs_token=settings.bearer_token is not None and not on_apps(environ),
        at=at,
    )
    return page.routes()


def _documentation_routes(settings: Settings, folder: Path) -> list[Route]:
    """The routes of the documentation, or none if the settings switch it off."""
    if settings.docs == "off":
        return []
    return DocumentationRoutes(DocumentationBuild(folder, reload=settings.reload == "on")).routes()


def _has_metrics(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether there are metrics.

    Raises:
        BadSetting: they are switched on, and everybody who can reach the service could read them.
    """
    here = is_loopback(settings.host) and not on_apps(environ)
    if settings.metrics == "on" and not here and not on_apps(environ) and settings.bearer_token is None:
        name = "GRAPH_AGENT_METRICS"
        raise BadSetting(
            f"{name}=on needs GRAPH_AGENT_BEARER_TOKEN here: the service does not bind loopback", param=name
        )
    return settings.metrics == "on" or (settings.metrics == "auto" and here)


def _middleware(
    settings: Settings, environ: Mapping[str, str], *, page_at: str, metrics: ServiceMetrics | None
) -> list[Middleware]:
    """The middleware of the app, outermost first."""
    # `WholePath` is first because the others compare paths. `RequestLog` is outside of the gates, so that refused
    # requests are logged too.
    log = Middleware(RequestLog, failed=None if metrics is None else metrics.answered)
    first = [Middleware(WholePath), log]
    if settings.page_origins:
        # Outside of the gates: a preflight request carries no token, and a page shall be able to read a refusal.
        first.append(Middleware(Cors, settings=settings))
    # The proxy of Apps signs callers in, and it uses the `Authorization` header for itself.
    here = not on_apps(environ)
    if here and settings.bearer_token is not None:
        first.append(Middleware(BearerGate, settings=settings, page_at=page_at))
    elif here:
        first.append(Middleware(HostGate, settings=settings))
    has_host_gate = here and settings.bearer_token is None
    origins = Middleware(OriginGate, settings=settings, has_host_gate=has_host_gate)
    return [*first, origins, Middleware(OtherWebSockets)]


async def _load(
    app: AppContext,
    built: "ServedGraphs | None",
    gate: Gate,
    duties: Duties,
    metrics: ServiceMetrics | None,
    on_failed_start: Callable[[AgentError], None] | None,
    *,
    warm: bool,
    announces: bool,
    unbuilt: Collection[str],
    schedules_of: Kind | None,
) -> None:
    try:
        if metrics is not None:
            await run_in_service_thread(metrics.make)
            metrics.begin()
        service = await run_in_service_thread(_import_service, app, built, schedules_of, metrics)
        await service.catalog.open()
        if warm:
            await service.catalog.warm(seconds=WARM_SECONDS)
    except AgentError as error:
        logger.error("cannot start: %s", error.message)
        gate.fail(error)
    except Exception as error:  # noqa: BLE001 - graphs and imports may raise anything; requests must not wait in vain
        logger.error("cannot start: %s", describe_error(error))
        gate.fail(GraphNotLoaded(f"start failed ({type(error).__name__})"))
    else:
        gate.open(service)
        duties.begin(service)
        if service.tracer is not None:
            # Not earlier: the tracer's imports would delay those of the graphs. Where a person waits for the first
            # trace, at once: opening a new SQLite store takes seconds.
            service.tracer.start(at_once=app.settings.reload == "on")
        logger.info("ready: serving %s", _served(service.catalog))
        if announces:
            _announce(service, unbuilt)
    if gate.failure is not None and on_failed_start is not None:
        on_failed_start(gate.failure)


def _unbuilt(settings: Settings, page_folder: Path, docs_folder: Path) -> Collection[str]:
    """Which of the page and the documentation are switched on, and have no files here."""
    folders = {"page": page_folder, "docs": docs_folder}
    return [name for name, folder in folders.items() if getattr(settings, name) == "on" and not is_built(folder)]


def _announce(service: "Service", unbuilt: Collection[str]) -> None:
    said = banner_of(
        service.app,
        unbuilt=unbuilt,
        metrics=service.metrics is not None,
        schedules=len(service.schedules),
        webhooks=len(service.targets),
    )
    if service.app.settings.log_format == "json":
        logger.info("set up", extra={"fields": {"setup": dict(said)}})
        return
    for subject, words in said.items():
        logger.info("%s: %s", subject, words)


def _built(graphs: Mapping[str, Any], settings: Settings) -> "ServedGraphs":
    # Late: it imports LangGraph, which a service without graphs from code must not import before its port is bound.
    from graph_agent.catalog.built_graphs import BuiltGraphs

    return BuiltGraphs(graphs, default=settings.default_graph)


def _served(catalog: "ServedGraphs") -> str:
    loaded = ", ".join(name for name in catalog.names if name not in catalog.broken)
    return f"{loaded or 'nothing'}; not loaded: {', '.join(catalog.broken)}" if catalog.broken else loaded


def _import_service(
    app: AppContext, built: "ServedGraphs | None", schedules_of: Kind | None, metrics: ServiceMetrics | None
) -> "Service":
    """`schedules_of` is the kind of the callers, if the app runs the schedules."""
    # Late: LangGraph and the libraries it needs take seconds of CPU, and the port must answer before that.
    with IMPORT_LOCK:
        import graph_agent.runs.run  # noqa: F401 - otherwise the first run would wait for its imports
        from graph_agent.catalog.catalog import Catalog
        from graph_agent.serving.service import Service
        from graph_agent.webhooks import targets

    settings = app.settings
    catalog: ServedGraphs = built or Catalog(
        read_manifest(settings.config),
        default=settings.default_graph,
        reload=settings.reload == "on",
        manifest=settings.config,
        app=app,
    )
    if settings.fallback_graph not in (None, *catalog.names):
        known = ", ".join(catalog.names)
        message = f"GRAPH_AGENT_FALLBACK_GRAPH is not the name of a graph; known: {known}"
        raise UnknownGraph(message, param="fallback_graph")
    tracer = None
    if settings.tracing == "on":
        with IMPORT_LOCK:
            from graph_agent.tracing import Tracer

        tracer = Tracer.of(app)
    beside = settings.config if built is None else None
    file = operator_file(settings.webhooks, beside=beside, name=targets.FILE)
    found = targets.read_targets(file, app.environ)
    service = Service(app=app, catalog=catalog, tracer=tracer, targets=found, metrics=metrics)
    return service if schedules_of is None else _with_schedules(service, schedules_of, beside)


def _with_schedules(service: "Service", kind: Kind, beside: Path | None) -> "Service":
    with IMPORT_LOCK:
        from graph_agent.scheduling import schedule_file

    settings = service.app.settings
    file = operator_file(settings.schedules, beside=beside, name=schedule_file.FILE)
    if file is None:
        return service
    schedule_file.check_settings(settings)
    found = schedule_file.read_schedules(file, kind=kind, parse=partial(service.parse, dialect=OPENAI))
    return replace(service, schedules=found)


async def _close(service: "Service") -> None:
    await service.catalog.aclose()
    if service.tracer is not None:
        await run_in_service_thread(service.tracer.close, TRACE_DELIVERY_SECONDS)


async def _agent_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AgentError)
    return error_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if words := alternative_to(request, exists=error.status_code == 405):
        return error_response(RouteNotFound(words))
    if error.status_code == 405:
        # Starlette has them in any order, and `HEAD` wherever `GET` is.
        methods = {one.strip() for one in (error.headers or {}).get("Allow", "another method").split(",")}
        allowed = ", ".join(sorted(methods - {"HEAD"} or methods))
        response = error_response(MethodNotAllowed(f"{request.method} is not served at this address; use {allowed}"))
        response.headers.update(error.headers or {})
        return response
    prefix = prefix_of(request.scope)
    addresses = ", ".join(f"{prefix}{address}" for address in [*ADDRESSES, "/health", "/ready", "/agent/info"])
    return error_response(RouteNotFound(f"no such address; the service has {addresses}"))
