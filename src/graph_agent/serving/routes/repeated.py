"""The answer to a request with a run that exists: the stream or the response of that run.

The request has begun it before, or waits for its run in the background.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from graph_agent.errors import (
    AgentError,
    ConversationBusy,
    EventLogExpired,
    RunCancelled,
    RunError,
    ServiceStopping,
    StoreUnavailable,
)
from graph_agent.identity.owner import Owner
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.retelling import retold
from graph_agent.runs.event_log import Entry, EventLog
from graph_agent.runs.joining import OPEN, Joining
from graph_agent.runs.log_context import add_log_facts, log_facts
from graph_agent.runs.registry import Reader
from graph_agent.runs.repeats import Repeats
from graph_agent.runs.request import RunRequest
from graph_agent.serving.errors import NO_RESPONSE_STATUS, error_response
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.preferences import APPLIED
from graph_agent.serving.routes.not_found import missing_things
from graph_agent.serving.routes.stored_responses import response_of
from graph_agent.serving.sse import EventStreamResponse, disconnected
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.stores.store import Store

FAILURES = (RunError, ServiceStopping, StoreUnavailable)
"""Why a run fails."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A request, and the run that answers it."""

    asked: RunRequest
    response_id: str
    store: "Store"


class RepeatedAnswers:
    """Answers requests with runs that exist."""

    def __init__(self, *, settings: Settings, joining: Joining, repeats: Repeats, write_seconds: float) -> None:
        self._settings = settings
        self._joining = joining
        self._repeats = repeats
        self._write_seconds = write_seconds

    async def answer(self, request: Request, begun: Begun, *, until: float | None) -> ASGIApp:
        """The answer. A whole response is waited for until `until`, in terms of `time.monotonic()`. A request that
        prefers `respond-async` then gets the address of its response.

        Raises:
            AgentError: the response was deleted meanwhile, or it is not there in time.
        """
        asked, response_id = begun.asked, begun.response_id
        invocation = asked.invocation
        request_id = log_facts().get("request_id", response_id)
        add_log_facts(user=asked.owner.user, run_id=response_id, request_id=request_id)
        if invocation.background and not invocation.awaited and invocation.mode != "stream":
            return await self._now(begun)
        reader = await self.reader(begun)
        if asked.invocation.mode == "stream":
            return EventStreamResponse(
                reader,
                headers={"x-request-id": response_id},
                trailers=partial(self._told, asked, response_id),
                named=asked.dialect.open_responses,
                numbered=asked.dialect.open_responses,
                write_seconds=self._write_seconds,
            )
        return await self._reply(request, begun, reader, until)

    async def reader(self, begun: Begun) -> Reader:
        """A reader of the run from its first event on, or of what its response says.

        Raises:
            AgentError: the response was deleted meanwhile, or its events cannot be read here.
        """
        asked, response_id, store = begun.asked, begun.response_id, begun.store
        try:
            return await self._joining.reader(
                asked.owner, response_id, store=store, quiet_seconds=self._settings.keepalive_seconds
            )
        except EventLogExpired:
            return _told(await self._record(asked, response_id, store), asked)

    async def _now(self, begun: Begun, status: int = 200, **headers: str) -> Response:
        """The response object of a run in the background, as it is now."""
        asked, response_id, store = begun.asked, begun.response_id, begun.store
        with missing_things():
            stored = await store.responses.get(Owner.of(asked.owner), response_id)
        response = response_of(stored)
        if stored.status in OPEN:
            response = await self._joining.so_far(asked.owner, stored, store=store, head=response)
        return Response(
            encode(response),
            status_code=status,
            media_type="application/json",
            headers={"x-request-id": response_id, **headers},
        )

    async def _accepted(self, request: Request, begun: Begun) -> Response:
        """The answer to a request that does not wait any longer."""
        path: str = request.scope["route"].path
        address = f"{prefix_of(request.scope)}{path[: path.rindex('/')]}/responses/{begun.response_id}"
        return await self._now(begun, 202, location=address, **{"preference-applied": APPLIED})

    async def _told(self, asked: RunRequest, response_id: str) -> Sequence[Mapping[str, Any]]:
        self._repeats.told(asked, response_id)
        return ()

    async def _record(self, asked: RunRequest, response_id: str, store: "Store") -> Mapping[str, Any]:
        """The response object of a run whose events are gone.

        Raises:
            ResponseNotFound: it was deleted.
            ConversationBusy: a process that does not share its runs has it.
        """
        with missing_things():
            stored = await store.responses.get(Owner.of(asked.owner), response_id)
        if stored.status in OPEN:
            raise _still_running(response_id)
        return response_of(stored)

    async def _reply(self, request: Request, begun: Begun, reader: Reader, until: float | None) -> Response:
        asked, response_id = begun.asked, begun.response_id
        last = asyncio.ensure_future(_last_response(reader))
        leaver = asyncio.ensure_future(disconnected(request.receive))
        try:
            seconds = None if until is None else max(until - time.monotonic(), 0.0)
            await asyncio.wait([last, leaver], return_when=asyncio.FIRST_COMPLETED, timeout=seconds)
            if leaver.done() and not last.done():
                return Response(status_code=NO_RESPONSE_STATUS)
            if not last.done() and asked.invocation.awaited:
                return await self._accepted(request, begun)
            if not last.done():
                raise _still_running(response_id)
            # The frame that ends a failed stream of `/invocations` has no response object.
            response = last.result() or await self._record(asked, response_id, begun.store)
        finally:
            last.cancel()
            leaver.cancel()
            await asyncio.gather(last, leaver, return_exceptions=True)
            await reader.leave()
        self._repeats.told(asked, response_id)
        failure = failure_in(response)
        if isinstance(failure, RunCancelled):
            # Its caller had left, or asked for that, and now wants to know.
            response = {**response, "status": "cancelled"}
        elif failure is not None:
            return error_response(failure, request_id=response_id, ran=True)
        return Response(encode(response), media_type="application/json", headers={"x-request-id": response_id})


async def _last_response(reader: Reader) -> Mapping[str, Any] | None:
    last = None
    async for batch in reader:
        last = batch[-1] if batch else last
    return None if last is None else last.event.get("response")


def failure_in(response: Mapping[str, Any]) -> AgentError | None:
    """The error with which the run of this response failed, or `None`."""
    error = response.get("error")
    return failure_of(error["code"], error["message"]) if error else None


def failure_of(code: str, message: str) -> AgentError:
    """The error with which a run failed, by what its response says."""
    kinds = list(FAILURES)
    for kind in kinds:
        if kind.code == code:
            return kind(message)
        kinds += kind.__subclasses__()
    return AgentError(message)


def _told(response: Mapping[str, Any], asked: RunRequest) -> Reader:
    """A reader of a response that has ended, whose events are gone."""
    error = failure_in(response)
    if response["status"] not in ("completed", "incomplete"):
        error = error or RunCancelled("the run was cancelled")
    log = EventLog()
    log.append(retold(response, dialect=asked.dialect, error=error))
    log.end()
    return Reader(_batches(log), _nothing)


async def _batches(log: EventLog) -> AsyncIterator[Sequence[Entry]]:
    async for batch in log.read(quiet_seconds=1.0):
        yield batch


async def _nothing() -> None:
    """Nothing runs."""


def _still_running(response_id: str) -> ConversationBusy:
    return ConversationBusy(
        f"the response {response_id} of this request is still in progress; send the request again to wait for it",
        running=response_id,
    )
