"""What the routes need to read requests and start runs.

This module imports LangChain, so the app imports it in a thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graph_agent.app_context import AppContext
from graph_agent.catalog.served_graphs import ServedGraphs
from graph_agent.protocol.ag_ui_requests import AgUiRequest, parse_ag_ui_request
from graph_agent.protocol.chat_requests import ChatRequest, MessageItems, parse_chat_request
from graph_agent.protocol.conversation_requests import (
    ConversationChange,
    NewConversation,
    parse_conversation_change,
    parse_new_conversation,
    parse_new_items,
)
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.feedback_requests import NewFeedback, parse_feedback
from graph_agent.protocol.history_requests import HistoryRequest, parse_compaction, parse_token_count
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.mcp_tools import call_fields
from graph_agent.protocol.memory_requests import parse_memory_change
from graph_agent.protocol.requests import Invocation, parse_request, read_request
from graph_agent.protocol.socket_messages import asked_fields
from graph_agent.protocol.steer_fields import SOCKET_STEER
from graph_agent.protocol.steer_requests import SteerInput, parse_steer, read_steer
from graph_agent.runs.observers import RunObserver, Traced, observers_of
from graph_agent.stores.records import Item
from graph_agent.tracing.ratings import Rating

if TYPE_CHECKING:
    from graph_agent.scheduling.schedule_file import Schedule
    from graph_agent.serving.metrics import ServiceMetrics
    from graph_agent.tracing import Tracer
    from graph_agent.webhooks.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The graphs, the settings, and the tracer: everything that turns a request into a run."""

    app: AppContext
    """The settings and clients of every run."""

    catalog: ServedGraphs
    tracer: "Tracer | None"
    targets: "Mapping[str, Target]" = field(default_factory=dict)
    """Where webhooks go, by name."""

    schedules: "Sequence[Schedule]" = ()
    """The schedules whose runs this process begins."""

    metrics: "ServiceMetrics | None" = None
    """What counts runs, if anything does."""

    def observers(self, trace: Traced | None = None) -> list[RunObserver]:
        """The observers of a new run. Without a `trace`, it gets one, if runs are traced."""
        if trace is None and self.tracer is not None:
            trace = self.tracer.trace()
        metrics = None if self.metrics is None else self.metrics.observer()
        return observers_of(trace, *([] if metrics is None else [metrics]))

    def parse(
        self,
        body: bytes,
        dialect: Dialect,
        *,
        keyed: bool = False,
        respond_async: bool = False,
        pulse: Pulse = no_pulse,
    ) -> Invocation:
        """Parse a request's body. `pulse` is called between the steps, so that a thread can give way or stop.

        `keyed` says that the request has an `Idempotency-Key`, and `respond_async` that its caller prefers that.

        Raises:
            InvalidRequest: the request is wrong, or one of its subclasses; `param` names the field.
        """
        return parse_request(
            body,
            graphs=self.catalog.names,
            fallback=self._fallback(dialect),
            stores=True,
            stored_by_default=dialect.stores,
            background_served=True,
            keyed=keyed,
            respond_async=respond_async,
            webhooks=tuple(self.targets),
            servers=self.app.settings.client_mcp_addresses,
            pulse=pulse,
        )

    def parse_created(self, fields: Mapping[str, Any], *, pulse: Pulse = no_pulse) -> Invocation:
        """Parse the fields of a `response.create`, which asks over a WebSocket. Raises as `parse` does."""
        asked, generate = asked_fields(fields)
        return read_request(
            asked,
            graphs=self.catalog.names,
            fallback=self.app.settings.fallback_graph,
            stores=True,
            stored_by_default=True,
            of_connection=True,
            generate=generate,
            webhooks=tuple(self.targets),
            servers=self.app.settings.client_mcp_addresses,
            pulse=pulse,
        )

    def parse_chat(self, body: bytes, *, pulse: Pulse = no_pulse) -> ChatRequest:
        """Parse the body of `POST /v1/chat/completions`. Raises as `parse` does."""
        settings = self.app.settings
        return parse_chat_request(
            body,
            graphs=self.catalog.names,
            fallback=settings.fallback_graph,
            always_reasoning=settings.chat_reasoning == "always",
            pulse=pulse,
        )

    def message_items(self, messages: Sequence[Mapping[str, object]], *, pulse: Pulse = no_pulse) -> MessageItems:
        """The items of messages in the form of chat completions, which were checked."""
        return MessageItems(messages, pulse)

    def parse_ag_ui(self, body: bytes, *, graph: str | None, pulse: Pulse = no_pulse) -> AgUiRequest:
        """Parse the body of `POST /ag-ui/{graph}`. Raises as `parse` does."""
        return parse_ag_ui_request(body, graph=graph, graphs=self.catalog.names, pulse=pulse)

    def parse_compaction(self, body: bytes, dialect: Dialect, *, pulse: Pulse = no_pulse) -> HistoryRequest:
        """Parse the body of `POST /responses/compact`. Raises as `parse` does."""
        return parse_compaction(body, graphs=self.catalog.names, fallback=self._fallback(dialect), pulse=pulse)

    def parse_token_count(self, body: bytes, dialect: Dialect, *, pulse: Pulse = no_pulse) -> HistoryRequest:
        """Parse the body of `POST /responses/input_tokens`. Raises as `parse` does."""
        return parse_token_count(body, graphs=self.catalog.names, fallback=self._fallback(dialect), pulse=pulse)

    def _fallback(self, dialect: Dialect) -> str | None:
        return self.catalog.default if dialect.any_model else self.app.settings.fallback_graph

    def parse_tool_call(
        self, arguments: Mapping[str, object], *, graph: str, steps: bool, pulse: Pulse = no_pulse
    ) -> Invocation:
        """Read the arguments of a call of this graph as a tool. With `steps`, its events tell the nodes.

        Raises as `parse` does.
        """
        fields = call_fields(arguments, graph=graph, steps=steps)
        return read_request(fields, graphs=self.catalog.names, stores=True, stored_by_default=True, pulse=pulse)

    def parse_new_conversation(self, body: bytes, *, pulse: Pulse = no_pulse) -> NewConversation:
        """Parse the body of `POST /conversations`. Raises as `parse` does."""
        return parse_new_conversation(body, pulse=pulse)

    def parse_conversation_change(self, body: bytes, *, pulse: Pulse = no_pulse) -> ConversationChange:
        """Parse the body of `POST /conversations/{id}`. Raises as `parse` does."""
        return parse_conversation_change(body, pulse=pulse)

    def parse_new_items(self, body: bytes, *, pulse: Pulse = no_pulse) -> Sequence[Item]:
        """Parse the body of `POST /conversations/{id}/items`. Raises as `parse` does."""
        return parse_new_items(body, pulse=pulse)

    def parse_feedback(self, body: bytes, *, pulse: Pulse = no_pulse) -> NewFeedback:
        """Parse the body of `POST /responses/{id}/feedback`. Raises as `parse` does."""
        return parse_feedback(body, pulse=pulse)

    def rating(self, new: NewFeedback, *, user: str) -> Rating:
        """The feedback of this user, as the store of traces takes it."""
        return Rating(name=new.name, value=new.value, comment=new.comment, user=user)

    def parse_steer(self, body: bytes, *, pulse: Pulse = no_pulse) -> SteerInput:
        """Parse the body of `POST /responses/{id}/steer`. Raises as `parse` does."""
        return parse_steer(body, pulse=pulse)

    def read_steer(self, fields: Mapping[str, Any], pulse: Pulse = no_pulse) -> SteerInput:
        """Read the fields of a `response.steer`. Raises as `parse` does."""
        return read_steer(fields, known=SOCKET_STEER, pulse=pulse)

    def parse_memory_change(self, body: bytes, *, pulse: Pulse = no_pulse) -> str:
        """Parse the body of `PATCH /memories/{id}`. Raises as `parse` does."""
        return parse_memory_change(body, pulse=pulse)
