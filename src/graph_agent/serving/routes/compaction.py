"""The routes about a history that is not answered: to compact it, and to count its tokens."""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.databricks.local_tokens import tokens_of_local_model
from graph_agent.errors import (
    AgentError,
    CompactionFailed,
    ConversationBusy,
    ConversationNotFound,
    GraphNotLoaded,
    InvalidEncryptedContent,
    InvalidRequest,
    ResponseNotFound,
    RunError,
    UnknownGraph,
    UnsupportedField,
)
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol import wire_schemas
from graph_agent.protocol.dialects import OPENAI, RESPONSES, Dialect
from graph_agent.protocol.field_checks import fields_schema
from graph_agent.protocol.history_fields import COMPACTION_BODY, COUNT_BODY
from graph_agent.protocol.json_encoding import encode
from graph_agent.redaction import current_hidden_values
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.registry import Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.serving.errors import NO_RESPONSE_STATUS, error_response
from graph_agent.serving.gate import Gate
from graph_agent.serving.idempotency_key import HEADER as KEY
from graph_agent.serving.identity import Identity
from graph_agent.serving.leaving import unless_left
from graph_agent.serving.operations import (
    JSON,
    OF_BODY,
    OF_GRAPHS,
    OF_STORE,
    REQUEST_ID,
    Answer,
    Answers,
    described,
    every,
)
from graph_agent.serving.posted_json import PostedJson
from graph_agent.serving.routes.answers import json_answer, route
from graph_agent.serving.routes.responses import TAG, WARNINGS
from graph_agent.serving.store_gate import StoreGate
from graph_agent.serving.trace_reply import TraceReply
from graph_agent.serving.whole_replies import whole_reply

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

    from graph_agent.protocol.history_requests import HistoryRequest
    from graph_agent.runs.run import Run
    from graph_agent.serving.service import Service
    from graph_agent.tracing import RunTrace

PREFIXES = {"/v1": OPENAI, "": RESPONSES, "/api": RESPONSES}
"""On Databricks Apps a bearer token reaches only addresses below `/api/`."""

ESTIMATE = "`input_tokens` is an estimate: four characters are a token, and each message has three more."

LEFT = "the caller left before the history was read"

ERRORS = (
    *(*OF_STORE, *OF_GRAPHS, *OF_BODY),
    *(UnsupportedField, UnknownGraph, GraphNotLoaded, ResponseNotFound, ConversationNotFound, ConversationBusy),
    InvalidEncryptedContent,
)


def _compacted(dialect: Dialect) -> Answers:
    return {
        200: Answer(
            "The messages of users, and the sealed summary of all the rest.",
            {JSON: wire_schemas.COMPACTED},
            {REQUEST_ID: "The id under which the log has the run."},
        )
    }


def _counts(dialect: Dialect) -> Answers:
    return {
        200: Answer(
            "How many tokens the conversation has, without what the graph adds.",
            {JSON: wire_schemas.TOKEN_COUNT},
            {WARNINGS: "That the count is an estimate, if it is one."},
        )
    }


class CompactionRoutes:
    """Compacts histories and counts their tokens."""

    def __init__(
        self,
        *,
        identity: Identity,
        gate: Gate,
        runs: Runs,
        store: StoreGate,
        posted: PostedJson,
        reply_seconds: float | None = None,
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._runs = runs
        self._store = store
        self._posted = posted
        self._reply_seconds = reply_seconds

    def routes(self) -> list[Route]:
        """The routes of the app."""
        found = []
        for prefix, dialect in PREFIXES.items():
            found.append(route(f"{prefix}/responses/compact", POST=partial(self.compact, dialect=dialect)))
            found.append(route(f"{prefix}/responses/input_tokens", POST=partial(self.count, dialect=dialect)))
        return found

    @described(
        TAG,
        _compacted,
        body={"title": "NewCompaction", **fields_schema(COMPACTION_BODY)},
        errors=(*ERRORS, *every(RunError)),
    )
    async def compact(self, request: Request, dialect: Dialect) -> ASGIApp:
        """Summarize a history. The answer takes its place as the `input` of later requests.

        Raises:
            AgentError: the request is refused, or there is no summary.
        """
        began = time.monotonic()
        self._posted.check_declared(request)
        if request.headers.get(KEY) is not None:
            raise UnsupportedField(
                f"`{KEY}` is not supported: a key finds a stored response, and a compaction is not stored. Leave it "
                "out.",
                param=KEY,
            )
        caller = await self._identity.caller(request.headers)
        token = self._identity.token(request.headers)
        with with_user_token(token):
            started = await self._started(request, dialect, caller, token, began)
        return await self._reply(request, caller, *started)

    async def _started(
        self, request: Request, dialect: Dialect, caller: Caller, token: UserToken | None, began: float
    ) -> "tuple[list[dict[str, Any]], list[dict[str, Any]], Run, RunTrace | None]":
        """Start the run that summarizes. Returns the items that stay in sight, and those that are sealed."""
        self._runs.require_free_slot()
        service = await self._gate.passed()
        await service.catalog.refresh()
        # Late: these import LangChain, and the port is bound before that. The gate has waited for it.
        from graph_agent.protocol.compaction import kept_beside_summary, messages_of_users
        from graph_agent.protocol.messages import messages_of
        from graph_agent.protocol.requests import Invocation
        from graph_agent.runs.gently import run_gently
        from graph_agent.runs.summary_graph import SummaryGraph

        asked = await self._posted.parsed(request, partial(_parsed_compaction, service, dialect))
        store = await self._store.passed()
        reading = self._runs.history(caller, asked.items, store=store, previous=asked.previous)
        window = await unless_left(reading, request.receive, message=LEFT)
        kept = kept_beside_summary(window.items)
        told = [one for one in window.items if not any(one is other for other in kept)]
        if not told:
            raise InvalidRequest("There is nothing to summarize: `input` has only what stays as it is.", param="input")
        messages = await run_gently(
            lambda pulse: messages_of(told, first=window.shift, summaries=window.summaries, pulse=pulse), told
        )
        name = asked.graph or service.catalog.default
        model = self._runs.compaction.model(service.catalog, name)
        invocation = Invocation(
            graph=name,
            messages=messages,
            thread=None,
            mode="reply",
            custom_inputs={},
            metadata={},
            max_output_tokens=None,
            max_tool_calls=None,
            client_request_id=None,
        )
        scope = Scope(
            app=service.app,
            token=token,
            hidden=current_hidden_values(),
            facts=current_log_facts(),
            ends_by=None if self._reply_seconds is None else began + self._reply_seconds,
        )
        trace = None if service.tracer is None else service.tracer.trace()
        run = await self._runs.start(
            RunRequest(invocation=invocation, dialect=OPENAI, owner=caller, accepted_at=time.time()),
            scope,
            graphs=SummaryGraph(name, model, instructions=asked.instructions),
            observers=service.observers(trace),
        )
        return messages_of_users(window.items), kept, run, trace

    async def _reply(
        self,
        request: Request,
        caller: Caller,
        users: list[dict[str, Any]],
        kept: list[dict[str, Any]],
        run: "Run",
        trace: "RunTrace | None",
    ) -> Response:
        from graph_agent.protocol.compaction import Compacted, compacted_output, compaction_item
        from graph_agent.protocol.events import new_id

        reply = TraceReply.asked(trace, run, headers=request.headers)
        try:
            response = await whole_reply(run, self._runs.read(run), request.receive, reply)
            if response is None:
                return Response(status_code=NO_RESPONSE_STATUS)
            compacted = Compacted(summary=_summary_in(response), items=kept, keeps_users=True)
            sealer = await self._runs.compaction.sealer(caller, await self._store.passed())
            sealed = await sealer.sealed(compacted)
        except AgentError as error:
            return error_response(error, request_id=run.id, ran=True)
        body = {
            "id": run.id,
            "object": "response.compaction",
            "created_at": response["created_at"],
            "output": compacted_output(users, compaction_item(new_id("cmp"), sealed)),
            "usage": response["usage"],
        }
        return Response(encode(body), media_type=JSON, headers={REQUEST_ID: run.id})

    @described(
        TAG,
        _counts,
        body={"title": "NewTokenCount", **fields_schema(COUNT_BODY)},
        errors=ERRORS,
    )
    async def count(self, request: Request, dialect: Dialect) -> ASGIApp:
        """Count the tokens of a conversation. No model answers it.

        Raises:
            AgentError: the request is refused.
        """
        caller = await self._identity.caller(request.headers)
        service = await self._gate.passed()
        await service.catalog.refresh()
        with with_user_token(self._identity.token(request.headers)):
            asked = await self._posted.parsed(request, partial(_parsed_count, service, dialect))
        from graph_agent.protocol.messages import messages_of
        from graph_agent.runs.gently import run_gently
        from graph_agent.runs.token_counts import estimated_tokens

        window = await self._runs.history(
            caller,
            asked.items,
            store=await self._store.passed(),
            previous=asked.previous,
            conversation=asked.conversation,
        )
        messages = await run_gently(
            lambda pulse: messages_of(window.items, first=window.shift, summaries=window.summaries, pulse=pulse),
            window.items,
        )
        body = {"object": "response.input_tokens", "input_tokens": await self._counted(service, messages, asked)}
        if body["input_tokens"] is not None:
            return json_answer(body)
        body["input_tokens"] = await estimated_tokens(messages, instructions=asked.instructions, tools=asked.tools)
        return Response(encode(body), media_type=JSON, headers={WARNINGS: ESTIMATE})

    async def _counted(
        self, service: "Service", messages: "Sequence[BaseMessage]", asked: "HistoryRequest"
    ) -> int | None:
        """The tokens as the model counts them, if it is known how."""
        from langchain_core.messages import SystemMessage, convert_to_openai_messages

        instructions = [SystemMessage(asked.instructions)] if asked.instructions else []
        told: Any = convert_to_openai_messages([*instructions, *messages])
        functions = [
            {"type": "function", "function": {name: value for name, value in one.items() if name != "type"}}
            for one in asked.tools
            if one.get("type") == "function"
        ]
        return await tokens_of_local_model(service.app, told, functions)


def _parsed_compaction(service: "Service", dialect: Dialect, body: bytes, **more: Any) -> "HistoryRequest":
    return service.parse_compaction(body, dialect, **more)


def _parsed_count(service: "Service", dialect: Dialect, body: bytes, **more: Any) -> "HistoryRequest":
    return service.parse_token_count(body, dialect, **more)


def _summary_in(response: dict[str, Any]) -> str:
    """The summary in the response of the run.

    Raises:
        CompactionFailed: the run was ended early.
    """
    texts = [
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    ]
    if response["status"] != "completed" or not texts:
        raise CompactionFailed(
            "the history could not be summarized within the limits of a run: compact it earlier, or send less of it"
        )
    return str(texts[-1])
