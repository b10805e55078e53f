"""Tool calls and their results as items, in either dialect.

In the Databricks dialect a call is an item, and its result is a second one. The call's item is sent as soon as the
graph goes on, because until then the graph may ask a person about the call, and then the approval's item stands for
it. In the OpenAI dialect a call that the graph runs is one item. It opens only when its tool starts or returns, because
until then the graph may end on the call, and then the client has to answer it.

A call of a tool that the client brought is its own item in both, as soon as its model has written it.
"""

from collections.abc import Callable, Collection, Container, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import Command

from graph_agent.client_tools import NO_TOOLS, ClientTool, ClientTools, ServedCall
from graph_agent.contract import NOT_RUN
from graph_agent.known_messages import KnownMessages
from graph_agent.protocol import events, item_events
from graph_agent.protocol.approvals import Approval
from graph_agent.protocol.client_call_items import ClientCallItems
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event
from graph_agent.protocol.final_state import messages_in
from graph_agent.protocol.finish_reasons import early_end_of
from graph_agent.protocol.logged_response import NEVER_RETURNED
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.requested_calls import Namespace, RequestedCall, RequestedCalls, arguments_of
from graph_agent.protocol.resumed_items import ResumedItems
from graph_agent.protocol.tool_results import public_text
from graph_agent.redaction import redact

NO_RESULT = "the tool returned no result"
WAITS = "The call waits until the user has decided."
GIVEN_UP = "The call was given up, because a message came before its result."
CUT_OFF = f"{NOT_RUN}the model was cut off before it had finished."

InputsOf = Callable[[ToolMessage], Mapping[str, Any] | None]
"""The inputs of the tool call whose result this is, if known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedCall:
    """A call of an earlier response of which the result comes in this one."""

    provider_id: str
    call_id: str
    """The id of its result's item. It is the approval's, if the call needed one."""

    name: str
    args: Any
    sent: bool
    """Whether an earlier response has the call's item."""

    approval: str | None = None
    decided: bool = False
    """Whether the person's own words stand for the result."""

    client: ClientTool | None = None
    """The client's tool that it calls, if the client runs it."""

    served: ServedCall | None = None
    """The tool of an MCP server of the client that it calls, if it is one."""


@dataclass(slots=True)
class _Call:
    """A tool call that waits for its result."""

    asked: RequestedCall
    index: int = -1
    """The index of its item, once that is open; in the Databricks dialect the item is already closed."""
    item_id: str = ""
    taken_up: bool = False
    """A tool has started on it."""
    finished: Any = None
    """What the tool returned, while the node has not returned the result yet."""
    approval: str | None = None
    """The id of the approval that the call needed."""
    decided: bool = False
    """Whether the person's own words stand for the result."""
    written: tuple[Any, str] | None = None
    """The arguments and their text, as its item says them."""

    def arguments(self) -> str:
        """The arguments as its item says them. A node may have replaced them meanwhile."""
        if self.written is None or self.written[0] is not self.asked.args:
            self.written = (self.asked.args, arguments_of(self.asked.args))
        return self.written[1]


class ToolCallItems:
    """The tool calls of one response. `known` are the messages the caller sent; their calls are not sent again."""

    def __init__(
        self,
        output: OutputItems,
        *,
        dialect: Dialect,
        server: str,
        known: KnownMessages,
        inputs_of: InputsOf = lambda result: None,
        client: ClientTools = NO_TOOLS,
    ) -> None:
        self._output = output
        self._prefix = dialect.tool_items
        self._server = server
        self._asked = RequestedCalls(known, client=client)
        self.of_client = ClientCallItems(output, asked=self._asked, tools=client.by_name, parallel=client.parallel)
        """The items of the calls that the client runs."""
        self._inputs_of = inputs_of
        self._waiting: list[_Call] = []

    def continues(self, known: KnownMessages) -> None:
        """The calls of these messages are not sent again either."""
        self._asked.continues(known)

    def restore(self, resumed: ResumedItems, taken: Iterable[str]) -> None:
        """Restore the calls that an earlier attempt sent. Those without a valid result wait for it.

        `taken` are all ids that the attempt used.
        """
        answered, asked = resumed.answered(), list(resumed.asked())
        self._asked.restore([one for _, one in asked], taken)
        for item, one in asked:
            # A valid `mcp_call` holds its result. In that dialect, the client must answer a `function_call`.
            if (item.kind == self._prefix == "function_call" or one.client is not None) and one.call_id not in answered:
                self._waiting.append(_Call(one, item.index, item.item["id"]))

    # -- while the graph runs -----------------------------------------------------------------------------------

    def requested(self, message: AIMessage, ns: Namespace, *, answered: Iterable[str] = ()) -> Iterator[Event]:
        """The calls of a message. `answered` are those whose results its node returned along with it."""
        waiting = [one.asked for one in self._waiting]
        for asked in self._asked.news(message, ns, answered=set(answered), waiting=waiting):
            call = _Call(asked)
            # Now, because the redacted form of long arguments is at hand only while its message is translated.
            call.arguments()
            self._waiting.append(call)
            if asked.client is None:
                continue
            if asked.provider_id in answered:
                # The graph answers it in place of the client.
                asked.client = None
            else:
                yield from self._ask_client(call, whole=early_end_of(message.response_metadata) is None)

    @property
    def awaits_client(self) -> bool:
        """Whether there are calls that the client has to answer."""
        return any(call.asked.client is not None for call in self._waiting)

    @property
    def awaited_of_client(self) -> set[str]:
        """The calls that the client has to answer, by the ids that the graph knows."""
        return {call.asked.provider_id for call in self._waiting if call.asked.client is not None}

    @property
    def awaits_only_client(self) -> bool:
        """Whether there are calls that the client has to answer, and no others."""
        return bool(self._waiting) and all(call.asked.client is not None for call in self._waiting)

    def _ask_client(self, call: _Call, *, whole: bool = True) -> Iterator[Event]:
        # Its item has an index of its own. Here it only says that the client knows the call.
        call.index = 0
        yield from self.of_client.ask(call.asked, "completed" if whole else "incomplete")

    @property
    def holding(self) -> bool:
        """Whether there are calls whose items are sent once the graph goes on."""
        # Asked for each token, and nearly always nothing waits.
        waiting = self._waiting
        return (
            bool(waiting)
            and self._prefix == "function_call"
            and any(call.index < 0 and call.asked.client is None for call in waiting)
        )

    def go_on(self) -> Iterator[Event]:
        """The graph goes on after a message with calls, so it asks nobody about them."""
        if self._prefix == "function_call":
            for call in self._waiting:
                if call.index < 0 and call.asked.client is None:
                    yield from self._write_function_call(call)

    def started(self, ns: Namespace, call_id: str, inputs: Mapping[str, Any] | None) -> Iterator[Event]:
        """A tool begins to work on a call."""
        yield from self.go_on()
        call = self._find(ns, call_id, inputs, lambda one: not one.taken_up)
        if call is None:
            return
        call.taken_up = True
        if self._prefix == "mcp_call" and not call.item_id:
            yield from self._open_mcp_call(call)

    def searched(self, ns: Namespace, call_id: str | None) -> Generator[Event, None, str | None]:
        """Documents were found for a call, perhaps without a tool. Returns the id under which the client knows it: the
        `call_id`, or in the OpenAI dialect that of its item."""
        call = None if call_id is None else self._find(ns, call_id, None)
        if call is None:
            return None
        yield from self.go_on()
        if self._prefix == "function_call":
            return call.asked.call_id
        call.taken_up = True
        if not call.item_id:
            yield from self._open_mcp_call(call)
        return call.item_id

    def finished(self, ns: Namespace, call_id: str, output: Any) -> Iterator[Event]:
        """A tool has returned. Its result comes with what a node returns, but for one that travels in a `Send`."""
        call = self._find(ns, call_id, None, lambda one: one.finished is None)
        if call is None:
            return
        call.finished = output if output is not None else NO_RESULT
        if isinstance(output, Command) and call.asked.provider_id not in _answered_by(messages_in(output.update)):
            result = _result_in(call)
            if result is not None:
                yield from self.answered(result, ns)

    def answered(self, message: ToolMessage, ns: Namespace) -> Iterator[Event]:
        """A tool's result. The result of a call that was not requested in this run is left out."""
        yield from self.go_on()
        call = self._find(ns, message.tool_call_id, self._inputs_of(message))
        if call is not None:
            text = redact(message.text) if call.decided else public_text(message, call.asked.public_name)
            yield from self._close(call, text, failed=message.status == "error")

    def await_answers(self, message: AIMessage) -> bool:
        """Whether that message asked for calls that wait for their results."""
        return any(one in self._asked.of(message) for one in (call.asked for call in self._waiting))

    # -- approvals ----------------------------------------------------------------------------------------------

    def ask(self, approvals: Iterable[Approval]) -> Generator[Event, None, list[Approval]]:
        """The graph waits for these approvals. Returns them with the ids of the calls that they are about.

        The items of the approvals stand for calls that were not sent. What was begun is closed: it starts again.
        """
        yield from self.of_client.break_off()
        left, found = [call for call in self._waiting if call.asked.client is None], []
        for one in approvals:
            call = next((call for call in left if _is_about(one, call.asked)), None)
            if call is not None:
                left.remove(call)
                served = call.asked.served
                one = replace(
                    one,
                    call=call.asked.provider_id,
                    server=None if served is None else served.label,
                    tool=None if served is None else redact(served.name),
                )
            found.append(one)
        for call in list(self._waiting):
            if self._prefix == "mcp_call" and call.index >= 0 and call.asked.client is None:
                yield from self._close(call, WAITS, failed=True)
        self._waiting.clear()
        return found

    def resume(self, calls: Iterable[ResumedCall], resumed: ResumedItems) -> None:
        """The graph goes on after approvals. These calls wait for their results, but for those that an earlier attempt
        has told."""
        for one in calls:
            asked = RequestedCall(one.provider_id, one.call_id, one.name, one.args, (), None, one.client, one.served)
            if one.client is None and resumed.has_answered(one.call_id, asked.name_on_server, one.args):
                continue
            self._asked.restore([asked], [one.call_id])
            # A call of the client is told again, once, if its result does not come in this response.
            known = one.sent and (one.client is None or resumed.asks_for(one.call_id))
            self._waiting = [call for call in self._waiting if call.asked.call_id != one.call_id]
            self._waiting.append(_Call(asked, index=0 if known else -1, approval=one.approval, decided=one.decided))

    # -- its end ------------------------------------------------------------------------------------------------

    def finish(self, last: AIMessage | None, *, answered: Container[str] = ()) -> Iterator[Event]:
        """The graph is done. The calls of its `last` message that no tool took up are the client's to answer. Those of
        the client's own tools are, too, unless they are `answered`."""
        yield from self.of_client.break_off()
        left = self._asked.of(last) if last is not None else []
        for call in list(self._waiting):
            if call.asked.client is not None:
                self._waiting.remove(call)
                if call.index < 0 and call.asked.provider_id not in answered:
                    yield from self._ask_client(call)
            elif call.asked in left and not call.taken_up:
                self._waiting.remove(call)
                # An `mcp_call` would say that the server ran it. A `function_call` asks the client to do so.
                if call.index < 0:
                    yield from self._write_function_call(call)
            elif (result := _result_in(call)) is not None:
                text = public_text(result, call.asked.public_name)
                yield from self._close(call, text, failed=result.status == "error")
            else:
                yield from self._close(call, NO_RESULT, failed=call.finished is None)

    def give_up(self, provider_ids: Collection[str]) -> Iterator[Event]:
        """The client need not answer these calls any more."""
        for call in list(self._waiting):
            if call.asked.client is not None and call.asked.provider_id in provider_ids:
                if call.index < 0:
                    self._waiting.remove(call)
                else:
                    yield from self._close(call, GIVEN_UP, failed=True)

    def abandon(self, why: str = NEVER_RETURNED) -> Iterator[Event]:
        """Close the calls that got no result. To every client, a call without a result is an unfinished turn."""
        yield from self.of_client.break_off()
        yield from self.go_on()
        for call in list(self._waiting):
            if call.asked.client is not None and (self._prefix == "mcp_call" or call.index < 0):
                # To clients of this dialect, an unanswered call is only theirs to answer or to forget.
                self._waiting.remove(call)
            else:
                yield from self._close(call, why, failed=True)

    # -- items --------------------------------------------------------------------------------------------------

    def _find(
        self,
        ns: Namespace,
        call_id: str,
        inputs: Mapping[str, Any] | None,
        fits: Callable[[_Call], bool] = lambda call: True,
    ) -> _Call | None:
        """The call that waits under the provider's id: of several in the same graph that with these inputs, or the
        first."""
        # The provider's id, since LangGraph and its tools know only that. It may not be unique, so graph and inputs
        # decide between several calls.
        same = [call for call in self._waiting if call.asked.provider_id == call_id and fits(call)]
        here = [call for call in same if call.asked.ns == ns] or same
        alike = [call for call in here if inputs is not None and call.asked.args == inputs]
        return next(iter(alike or here), None)

    def _write_function_call(self, call: _Call) -> Iterator[Event]:
        asked, index, item_id = call.asked, self._output.open(), events.new_id("fc")
        call.index, call.item_id = index, item_id
        arguments = call.arguments()
        opened = item_events.function_call_item(item_id, asked.call_id, asked.public_name, "", "in_progress")
        yield item_events.item_added(index, opened)
        yield item_events.arguments_delta("function_call", item_id, index, arguments)
        yield item_events.arguments_done("function_call", item_id, index, asked.public_name, arguments)
        done = item_events.function_call_item(item_id, asked.call_id, asked.public_name, arguments, "completed")
        yield self._output.close(index, done)

    def _open_mcp_call(self, call: _Call) -> Iterator[Event]:
        asked, index, item_id = call.asked, self._output.open(), events.new_id("mcp")
        call.index, call.item_id = index, item_id
        arguments = call.arguments()
        opened = item_events.mcp_call_item(
            item_id, asked.name_on_server, "", "in_progress", server=self._server_of(asked), approval=call.approval
        )
        yield item_events.item_added(index, opened)
        yield item_events.mcp_call_progress(item_id, index, "in_progress")
        yield item_events.arguments_delta("mcp_call", item_id, index, arguments)
        yield item_events.arguments_done("mcp_call", item_id, index, asked.name_on_server, arguments)

    def _server_of(self, asked: RequestedCall) -> str:
        return self._server if asked.served is None else asked.served.label

    def _close(self, call: _Call, text: str, *, failed: bool) -> Iterator[Event]:
        self._waiting.remove(call)
        if self._prefix == "function_call" or call.asked.client is not None:
            index, output = self._output.open(), item_events.function_call_output_item(call.asked.call_id, text)
            yield item_events.item_added(index, output)
            yield self._output.close(index, output)
            return
        # A result may come without a start: a node can answer a call without running a tool.
        if not call.item_id:
            yield from self._open_mcp_call(call)
        state: Literal["failed", "completed"] = "failed" if failed else "completed"
        item = item_events.mcp_call_item(
            call.item_id,
            call.asked.name_on_server,
            call.arguments(),
            state,
            server=self._server_of(call.asked),
            output=None if failed else text,
            error=text if failed else None,
            approval=call.approval,
        )
        yield item_events.mcp_call_progress(call.item_id, call.index, state)
        yield self._output.close(call.index, item)


def _is_about(approval: Approval, call: RequestedCall) -> bool:
    if approval.form == "question":
        return False
    if approval.call is not None:
        return approval.call == call.provider_id
    return approval.name == call.name and approval.arguments == arguments_of(call.args)


def _answered_by(messages: Iterable[BaseMessage]) -> set[str]:
    return {one.tool_call_id for one in messages if isinstance(one, ToolMessage)}


def _result_in(call: _Call) -> ToolMessage | None:
    """The result within what a tool gave back: in a `Command`, it may travel to another node with a `Send`."""
    results = [one for one in messages_in(call.finished) if isinstance(one, ToolMessage)]
    return next((one for one in results if one.tool_call_id == call.asked.provider_id), None)
