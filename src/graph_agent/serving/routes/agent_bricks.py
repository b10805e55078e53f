"""The address of Agent Bricks' `DurableAgentServer`, so that its clients find an agent here too.

It is that of MLflow's form below `/api`, and a body with an `id` is of this form. The routes of responses do the work:
the id is the `Idempotency-Key` of a stored response, and what they answer is told in this form.
"""

from functools import partial
from typing import Any

import orjson
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graph_agent.errors import IdempotencyKeyUsed, InvalidRequest, ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.protocol import agent_bricks, wire_schemas
from graph_agent.protocol.dialects import INVOCATIONS, RESPONSES, Dialect
from graph_agent.protocol.json_decoding import MOST_AT_ONCE, Pulse, no_pulse
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.request_bodies import body_fields
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER, idempotency_key
from graph_agent.serving.identity import Identity
from graph_agent.serving.limits import MOST_PARSED_HERE
from graph_agent.serving.mounting import prefix_of
from graph_agent.serving.operations import EVENTS, JSON, OF_STORE, Answer, Answers, Parameter, described
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import route
from graph_agent.serving.routes.queries import AN_EVENT, check_query, event_number
from graph_agent.serving.routes.responses import ERRORS, PARAMETERS, TAG, ResponseRoutes, answers_of, body_schema
from graph_agent.serving.routes.stored_responses import StoredResponseRoutes
from graph_agent.serving.sse import KEEPALIVE
from graph_agent.serving.store_gate import StoreGate
from graph_agent.sse_events import EventReader, ServerSentEvent
from graph_agent.threads import run_giving_way

PATH = "/api/invocations"
NO_INVOCATION = "there is no such invocation: its id is wrong, or it was deleted"


def _answers(_: Dialect) -> Answers:
    own = answers_of(INVOCATIONS)
    whole = {"anyOf": [own[200].content[JSON], agent_bricks.STATE]}
    stream = wire_schemas.any_of(
        "ApiInvocationsEvent",
        own[200].content[EVENTS],
        agent_bricks.EVENT,
        says="The JSON of one frame, in either form.",
    )
    return {
        200: Answer(own[200].says, {JSON: whole, EVENTS: stream}, own[200].headers),
        202: Answer(own[202].says, {JSON: whole}, own[202].headers),
    }


class AgentBricksRoutes:
    """Starts runs in both forms of the address, and reads those of Agent Bricks."""

    def __init__(
        self,
        *,
        responses: ResponseRoutes,
        stored: StoredResponseRoutes,
        gate: Gate,
        identity: Identity,
        store: StoreGate,
        posted: PostedJson,
    ) -> None:
        self._responses = responses
        self._stored = stored
        self._gate = gate
        self._identity = identity
        self._store = store
        self._posted = posted

    def routes(self) -> list[Route]:
        """The routes of the app."""
        return [
            route(PATH, POST=self.start),
            route(f"{PATH}/{{id}}", GET=self.read),
            route(f"{PATH}/{{id}}/events", GET=self.events),
        ]

    @described(TAG, _answers, body={"anyOf": [body_schema(), agent_bricks.BODY]}, parameters=PARAMETERS, errors=ERRORS)
    async def start(self, request: Request) -> ASGIApp:
        """Start a run, in the form of MLflow's agents, or with an `id` in that of Agent Bricks."""
        self._posted.check_declared(request)
        body, fields = await self._posted.parsed(request, _read)
        if fields is None:
            return await self._responses.run(_again(request, body), INVOCATIONS)
        id_ = fields["id"].lower()
        if idempotency_key(request.headers) not in (None, fields["id"], id_):
            raise InvalidRequest(f"The header `{HEADER}` has no place beside `id`; leave it out.", param=HEADER)
        service = await self._gate.passed()
        messages = agent_bricks.payload_of(fields).get("messages") or ()
        read = partial(service.message_items, messages)
        items = read() if len(body) <= MOST_PARSED_HERE else await run_giving_way(read)
        made = encode(agent_bricks.responses_fields(fields, items.items))
        try:
            answer = await self._responses.run(_again(request, made, key=id_), RESPONSES)
        except IdempotencyKeyUsed:
            raise IdempotencyKeyUsed("`id` was used before for another request: choose another", param="id") from None
        except InvalidRequest as error:
            path = error.param and items.path_of(error.param)
            if path is None:
                raise
            begins = "input" if isinstance(fields["input"], list) else "input.messages"
            ours = path.replace("messages", begins, 1)
            raise error.in_words(error.message.replace(f"`{error.param}`", f"`{ours}`"), param=ours) from None
        return _Told(answer, id_, stream=bool(fields.get("stream")))

    @described(TAG, agent_bricks.STATE, says="The invocation.", errors=(*OF_STORE, InvalidRequest, ResponseNotFound))
    async def read(self, request: Request) -> ASGIApp:
        """The state of an invocation of Agent Bricks, with its output if it has ended."""
        check_query(request)
        response, id_ = await self._response_of(request)
        return _Told(await self._stored.read(_of(request, response, b"")), id_)

    @described(
        TAG,
        lambda _: {200: Answer("The stream of the events.", {EVENTS: agent_bricks.EVENT}, done=False)},
        parameters=(Parameter("after", AN_EVENT, "The id of the last event that the reader has."),),
        errors=ERRORS,
    )
    async def events(self, request: Request) -> ASGIApp:
        """The events of an invocation of Agent Bricks, from the first one or from behind `after` on."""
        query = check_query(request, Parameter("after", AN_EVENT, ""))
        after = event_number(query.get("after"), param="after")
        response, id_ = await self._response_of(request)
        # Their numbers count from 1, and with 0 a client says that it has none.
        behind = f"&starting_after={after - 1}" if after else ""
        return _Told(await self._stored.read(_of(request, response, f"stream=true{behind}".encode())), id_)

    async def _response_of(self, request: Request) -> tuple[str, str]:
        """The id of the response of an invocation, and that of the invocation."""
        id_ = str(request.path_params["id"]).lower()
        caller = await self._identity.caller(request.headers)
        store = await self._store.passed()
        keyed = await store.runs.with_key(Owner.of(caller), id_)
        if keyed is None:
            raise ResponseNotFound(NO_INVOCATION)
        return keyed.response, id_


def _read(body: bytes, *, pulse: Pulse = no_pulse) -> tuple[bytes, dict[str, Any] | None]:
    """The body, and its fields if it is an invocation of Agent Bricks."""
    if b'"id"' not in body or not _may_have_id(body):
        return body, None
    fields = body_fields(body, pulse)
    if "id" not in fields:
        return body, None
    agent_bricks.check_invocation(fields)
    return body, fields


def _may_have_id(body: bytes) -> bool:
    """Whether the body itself may have an `id`, and not only its items. Takes a millisecond for each megabyte."""
    if sum(map(body.count, (b"[", b"{", b","))) >= MOST_AT_ONCE:
        # Reading so many values at once would hold up all other requests.
        return True
    try:
        return "id" in orjson.loads(body)
    except (orjson.JSONDecodeError, TypeError):
        # The other form says what is wrong.
        return False


def _again(request: Request, body: bytes, *, key: str | None = None) -> Request:
    """The request with this body, and with a key, if there is one."""
    scope = dict(request.scope)
    headers = MutableHeaders(raw=list(scope["headers"]))
    headers["content-length"] = str(len(body))
    if key is not None:
        headers[HEADER] = key
    scope["headers"] = headers.raw
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await request.receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


def _of(request: Request, response: str, query: bytes) -> Request:
    """A request for this response."""
    scope = {**request.scope, "path_params": {"id": response}, "query_string": query}
    return Request(scope, request.receive)


class _Told:
    """An answer of the other routes in the form of Agent Bricks. An error is the same in both."""

    def __init__(self, answer: ASGIApp, id_: str, *, stream: bool = False) -> None:
        """`stream` says that the client wants events."""
        self._answer, self._id, self._stream = answer, id_, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        whole, reader = bytearray(), EventReader()

        async def told(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                if not self._is_state(start):
                    await send(message)
            elif self._is_state(start):
                whole.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await self._send_state(scope, start, orjson.loads(bytes(whole)), send)
            elif start["status"] == 200:
                await send({**message, "body": self._frames(reader, message.get("body", b""))})
            else:
                await send(message)

        await self._answer(scope, receive, told)

    def _is_state(self, start: Message) -> bool:
        is_json = MutableHeaders(raw=list(start["headers"])).get("content-type", "").startswith(JSON)
        return is_json and start["status"] in (200, 202)

    async def _send_state(self, scope: Scope, start: Message, response: dict[str, Any], send: Send) -> None:
        state = agent_bricks.state_of(response, self._id)
        status = start["status"]
        if state["status"] in ("queued", "active"):
            address = f"{prefix_of(scope)}{PATH}/{self._id}"
            state |= {"status_url": address} | ({"events_url": f"{address}/events"} if self._stream else {})
            status = 202 if scope["method"] == "POST" else 200
        body = encode(state)
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-length"] = str(len(body))
        await send({**start, "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    def _frames(self, reader: EventReader, piece: bytes) -> bytes:
        if piece == KEEPALIVE:
            return piece
        return b"".join(map(_frame, reader.feed(piece)))


def _frame(sent: ServerSentEvent) -> bytes:
    event = None if sent.data == "[DONE]" else orjson.loads(sent.data)
    if event is None or (told := agent_bricks.told_event(event)) is None:
        return b""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event["sequence_number"] + 1, told["type"].encode(), encode(told))
