"""The addresses of the service and what each does with a request."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graph_agent.acting import acting_for
from graph_agent.caller import Caller
from graph_agent.errors import (
    AgentError,
    BodyTooSlow,
    NoThreadFree,
    NotJson,
    NotReady,
    RunCancelled,
    ServiceStopping,
    Unauthenticated,
)
from graph_agent.faults import describe
from graph_agent.pages import NOT_JSON, is_json
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.encoding import encode
from graph_agent.protocol.events import new_id
from graph_agent.redaction import redact_value
from graph_agent.runs.log_facts import facts, note
from graph_agent.serving.identity import Identity
from graph_agent.serving.limits import MOST_PARSED_HERE, Bodies, RunSlots
from graph_agent.serving.parsing import parsed
from graph_agent.serving.sse import EventStreamResponse, disconnected
from graph_agent.serving.traced import Telling
from graph_agent.settings import Settings
from graph_agent.threads import NodeThreads

if TYPE_CHECKING:
    from graph_agent.protocol.incoming import Invocation
    from graph_agent.runs.runner import Run
    from graph_agent.serving.service import Service
    from graph_agent.serving.traced import Traced

logger = logging.getLogger(__name__)

ADDRESSES: Mapping[str, Dialect] = {
    "/invocations": INVOCATIONS,
    "/api/invocations": INVOCATIONS,
    "/responses": RESPONSES,
    "/api/responses": RESPONSES,
    "/v1/responses": OPENAI,
}
"""Databricks' documentation lets bearer tokens call `/api/` addresses only, hence both prefixes."""

HASTE_SECONDS = 0.1
"""How soon a second Ctrl-C is noticed."""

RETRY_LATER = frozenset({429, 503})
"""What says that the same request may succeed later."""

RETRY_AFTER_SECONDS = 5
"""When, unless the error knows."""

NO_RESPONSE_STATUS = 499
"""What nginx logs when the client has left; nobody reads it."""


LINGER_SECONDS = 300.0
"""For a slow reader to take the rest of a run that is over: its events are kept as long."""

LEAST_SECONDS = 1.0
"""For a run, however long its request took to begin."""


class Gate:
    """Opens when the graphs are loaded; requests that come earlier wait at it."""

    def __init__(self, *, wait_seconds: float) -> None:
        self._wait_seconds = wait_seconds
        self._settled = asyncio.Event()
        self.service: Service | None = None
        self.failure: AgentError | None = None

    def open(self, service: "Service") -> None:
        """Let requests through."""
        self.service, self.failure = service, None
        self._settled.set()

    def fail(self, error: AgentError) -> None:
        """Answer every request with what went wrong."""
        self.failure = error
        self._settled.set()

    async def passed(self) -> "Service":
        """The service, once there is one.

        Raises:
            NotReady: still loading after `wait_seconds`, or loading failed.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._settled.wait()
        except TimeoutError:
            raise NotReady("the graphs are still loading; try again shortly") from None
        if self.service is None:
            raise NotReady("the graphs could not be loaded; the service's log says why")
        return self.service


class Endpoints:
    """One method per address."""

    def __init__(
        self,
        *,
        settings: Settings,
        identity: Identity,
        gate: Gate,
        nodes: NodeThreads,
        pages_may_ask: bool,
        app_name: str | None = None,
        reply_seconds: float | None = None,
    ) -> None:
        self._settings = settings
        self._pages_may_ask = pages_may_ask
        self._app_name = app_name
        self._reply_seconds = reply_seconds
        self._identity = identity
        self._gate = gate
        self._nodes = nodes
        self._slots = RunSlots(settings.max_runs)
        self._bodies = Bodies(most=settings.max_body_bytes, seconds=settings.read_seconds)
        self._runs: set[Run] = set()
        self._stopping = False

    def routes(self) -> list[Route]:
        """The routes of the app."""
        runs = [Route(path, _Posted(self, dialect), methods=["POST"]) for path, dialect in ADDRESSES.items()]
        return [
            *runs,
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/agent/info", self.info),
        ]

    async def drain(self, *, grace_seconds: float, in_haste: Callable[[], bool] = lambda: False) -> None:
        """Take no new runs, let those under way finish for so long, then end the rest with `service_stopping`.

        Once `in_haste` says so they are not waited for.
        """
        self._stopping = True
        if self._runs:
            logger.info("stopping: %d runs have %g s to finish", len(self._runs), grace_seconds)
        waiting = {asyncio.ensure_future(run.ended()) for run in self._runs}
        ends = asyncio.get_running_loop().time() + grace_seconds
        while waiting and not in_haste() and asyncio.get_running_loop().time() < ends:
            _, waiting = await asyncio.wait(waiting, timeout=HASTE_SECONDS)
        for run in list(self._runs):
            run.interrupt(_stopping())

    async def health(self, request: Request) -> Response:
        """The process answers, in the words of MLflow's AgentServer; says nothing about graphs."""
        return JSONResponse({"status": "healthy"})

    async def ready(self, request: Request) -> Response:
        """200 while runs can start, 503 before and after."""
        if self._stopping or self._gate.service is None:
            why = _stopping() if self._stopping else self._gate.failure or NotReady("the graphs are still loading")
            error = NotReady(why.message)
            return _not_ready(error)
        if self._nodes.held >= self._nodes.most:
            return _not_ready(NoThreadFree(self._nodes.shortage()))
        return JSONResponse({"status": "ready"})

    async def info(self, request: Request) -> Response:
        """What is served: MLflow's fields, and the graphs."""
        service = await self._gate.passed()
        await service.catalog.refresh()
        graphs = [{"name": spec.name, "description": spec.description} for spec in service.catalog.specs]
        return JSONResponse(
            {
                # As AgentServer does: the app's name where there is an app.
                "name": self._app_name or service.catalog.default,
                "use_case": "agent",
                "agent_api": "responses",
                "mlflow_version": version("mlflow"),
                "default_graph": service.catalog.default,
                "graphs": graphs,
            }
        )

    async def run(self, request: Request, dialect: Dialect) -> Any:
        """Start a run and answer with its stream or its whole response."""
        if not self._pages_may_ask and not is_json(request.headers.raw):
            raise NotJson(NOT_JSON)
        caller = self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with acting_for(token):
            # The token is a secret here already: a caller may have pasted it.
            run, traced, invocation = await self._admitted(request, dialect, caller)
        self._runs.add(run)
        trace_id = traced.trace_id if traced is not None else None
        note(graph=run.head.model, user=caller.user, run_id=run.head.id, trace_id=trace_id, **_own_id(run))
        # The run's task begins here and carries the token on; nothing else of this request does.
        with acting_for(token):
            run.start(lambda: self._ended(run))
        telling = Telling.asked(traced, run, headers=request.headers, invocation=invocation, dialect=dialect)
        if invocation.mode == "stream":
            return self._stream(run, telling, named=dialect.open_responses)
        return await self._reply(run, request, telling)

    async def _admitted(
        self, request: Request, dialect: Dialect, caller: Caller
    ) -> "tuple[Run, Traced | None, Invocation]":
        """A run with a slot of its own, its trace, and what it is asked for."""
        began = asyncio.get_running_loop().time()
        if not self._bodies.is_small(request):
            # A body that cannot be admitted is not read. A slow sender holds no run.
            self._slots.demand_free()
        async with self._bodies.read(request) as body:
            service = await self._gate.passed()
            await service.catalog.refresh()
            # What is malformed is told so, however busy the service is, where that takes milliseconds.
            invocation = service.parse(body, dialect) if len(body) <= MOST_PARSED_HERE else None
            if self._stopping:
                raise _stopping()
            self._slots.take()
            try:
                if invocation is None:
                    invocation = await parsed(partial(service.parse, body, dialect), request.receive)
                seconds = self._time_left(invocation, began)
                run, traced = await service.open_run(invocation, caller=caller, dialect=dialect, seconds=seconds)
            except BaseException:
                self._slots.free()
                raise
        return run, traced, invocation

    def _time_left(self, invocation: "Invocation", began: float) -> float | None:
        """Seconds for a run whose answer comes whole, where whoever passes it on does not wait for ever."""
        if self._reply_seconds is None or invocation.mode == "stream":
            return None
        return max(began + self._reply_seconds - asyncio.get_running_loop().time(), LEAST_SECONDS)

    def _ended(self, run: "Run") -> None:
        self._runs.discard(run)
        self._slots.free()
        usage = run.usage
        note(end=run.status, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)

    def _stream(self, run: "Run", telling: Telling, *, named: bool) -> EventStreamResponse:
        response = EventStreamResponse(
            run.batches(quiet_seconds=self._settings.keepalive_seconds),
            aclose=run.aclose,
            headers={"x-request-id": run.head.id},
            trailers=telling.frames,
            named=named,
        )
        run.when_over(lambda: response.end_within(LINGER_SECONDS))
        return response

    async def _reply(self, run: "Run", request: Request, telling: Telling) -> Response:
        answer = asyncio.ensure_future(run.reply())
        leaver = asyncio.ensure_future(disconnected(request.receive))
        try:
            await asyncio.wait([answer, leaver], return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                return Response(status_code=NO_RESPONSE_STATUS)
            response = answer.result()
            await telling.add_to(response)
        except AgentError as error:
            return error_response(error, request_id=run.head.id, ran=True)
        finally:
            answer.cancel()
            leaver.cancel()
            await run.aclose()
        headers = {"x-request-id": run.head.id}
        return Response(encode(response), media_type="application/json", headers=headers)


class _Posted:
    """An ASGI endpoint for one address: Starlette hands it the raw `receive`, which tells when the client leaves."""

    def __init__(self, endpoints: Endpoints, dialect: Dialect) -> None:
        self._endpoints = endpoints
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._endpoints.run(Request(scope, receive), self._dialect)
        except AgentError as error:
            response = error_response(error)
        except Exception as error:
            # Not left to the server: it would log the exception's message, which may hold anything.
            logger.error("request failed: %s", describe(error))
            response = error_response(AgentError("the service failed; its log has the place"))
        await response(scope, receive, send)


def _not_ready(error: NotReady) -> Response:
    body = {"status": "not_ready"} | redact_value(error.body())
    return JSONResponse(body, status_code=error.status, headers=retry_headers(error))


def _own_id(run: "Run") -> Mapping[str, str]:
    """A request that came without an id is known by its run's."""
    return {} if "request_id" in facts() else {"request_id": run.head.id}


def _stopping() -> ServiceStopping:
    return ServiceStopping("the service is stopping; send the request again")


def error_response(error: AgentError, *, request_id: str | None = None, ran: bool = False) -> Response:
    """An error before the first byte; `request_id` where the log knows it by one, `ran` if a run had begun."""
    if isinstance(error, RunCancelled):
        return Response(status_code=NO_RESPONSE_STATUS)
    headers = {"x-request-id": request_id or new_id("req"), **retry_headers(error, ran=ran)}
    if isinstance(error, BodyTooSlow):
        # Else the rest of the body would be read, however long it takes.
        headers["connection"] = "close"
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(redact_value(error.body()), status_code=error.status, headers=headers)


def retry_headers(error: AgentError, *, ran: bool = False) -> dict[str, str]:
    """What an error tells the SDKs about sending the request again: they would by themselves, twice, whatever went
    wrong. A run that failed may have called tools, and what fails without one fails again."""
    headers = {}
    if ran or (error.status >= 500 and error.status not in RETRY_LATER):
        headers["x-should-retry"] = "false"
    if error.status in RETRY_LATER:
        headers["retry-after"] = str(error.retry_after or RETRY_AFTER_SECONDS)
    return headers
