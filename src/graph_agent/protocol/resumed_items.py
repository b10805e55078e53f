"""Decides which items of a log are still valid when a run resumes from a checkpoint.

The log and the checkpoint are written independently, so either may be ahead of the other when a process dies. The
checkpoint decides: a node that is not in the checkpoint runs again and produces its output again. So an item is valid
if it is complete and the checkpoint has its message. An item that was sent before a valid item is valid too, because
its node had ended: that keeps commentary which no message repeats. Every other item is discarded.

A tool's result is valid only if the checkpoint has the same text for its call. Another text comes from an attempt that
died before its checkpoint, or a node edited the message since: the result in the checkpoint counts.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from graph_agent.client_tools import client_call_in, served_call_in
from graph_agent.protocol import events, item_events
from graph_agent.protocol.content import reasoning_of
from graph_agent.protocol.events import Event, new_id
from graph_agent.protocol.item_shapes import CLIENT_CALLS, COMPACTION
from graph_agent.protocol.logged_response import NOTHING_LOGGED, RESUMED, LoggedItem, LoggedResponse
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.requested_calls import RequestedCall, arguments_of
from graph_agent.protocol.surrogates import join_surrogates
from graph_agent.protocol.tool_results import public_text
from graph_agent.protocol.visible_content import visible_content_of
from graph_agent.redaction import redact
from graph_agent.summaries import is_summary


@dataclass(slots=True, eq=False)
class _Request:
    """A call that a message of the checkpoint asks for."""

    message: AIMessage
    call: Any
    item: LoggedItem | None = None
    answered: bool = False


class ResumedItems:
    """The items of a log, matched with the messages that this run left in a checkpoint, in their order."""

    def __init__(self, logged: LoggedResponse, messages: Iterable[BaseMessage], spoken: Collection[str] = ()) -> None:
        """`spoken` are the ids of messages that were streamed, even if the log has nothing of them."""
        self._spoken = frozenset(spoken)
        # A message without an id gets one here, so that its calls are recognized when they are sent.
        self.messages = [one if one.id else one.model_copy(update={"id": new_id("lc")}) for one in messages]
        self.message_of: dict[int, BaseMessage] = {}
        """The index of a valid message, reasoning or output item -> its message."""
        self._free = [one for one in logged.items.values() if one.whole]
        self._begun = [one for one in logged.items.values() if one.kind == "message" and not one.whole]
        self._begun_of: dict[int, AIMessage] = {}
        self._answers = {one.item["call_id"] for one in logged.items.values() if one.kind == "function_call_output"}
        self._requests: list[_Request] = []
        self._other_results: set[int] = set()
        """Indexes of results whose calls may have another text in the checkpoint."""
        for message in self.messages:
            self._match(message)
        calls = [one.item.index for one in self._requests if one.item is not None]
        matched = [*self.message_of, *self._begun_of, *calls]
        last = max(matched, default=-1)
        outdated = self._other_results.intersection(one.index for one in self._free)
        stands = {one.index for one in logged.items.values() if one.whole and one.index <= last} - outdated
        self.items = [one for one in logged.items.values() if one.index in stands]
        self.discarded = [one for one in logged.items.values() if one.index not in stands]

    def asked(self) -> Iterator[tuple[LoggedItem, RequestedCall]]:
        """The valid calls, each with the request of the model."""
        requests = {one.item.index: one for one in self._requests if one.item is not None}
        for item in self.items:
            if item.kind not in (*CLIENT_CALLS, "mcp_call"):
                continue
            call_id = item.item.get("call_id", "")
            if (one := requests.get(item.index)) is not None:
                call, message_id = one.call, one.message.id
                sent_id = call_id or call["id"] or ""
                client, served = client_call_in(one.message, call, {}), served_call_in(one.message, call, {})
                yield (
                    item,
                    RequestedCall(
                        call["id"] or "", sent_id, call["name"], call["args"], (), message_id, client, served
                    ),
                )
            elif item.kind == "function_call":
                # From a subgraph. Its messages are no longer in the checkpoint, or they are in another one.
                yield item, RequestedCall(call_id, call_id, item.item["name"], None, (), None)

    def answered(self) -> set[str]:
        """The ids, as they were sent, of the calls that have a valid result."""
        return {one.item["call_id"] for one in self.items if one.kind == "function_call_output"}

    def asks_for(self, call_id: str) -> bool:
        """Whether a valid item asks the client for this call."""
        return any(one.kind in CLIENT_CALLS and one.item["call_id"] == call_id for one in self.items)

    def has_answered(self, call_id: str, name: str, args: Any) -> bool:
        """Whether a valid item has the result of this call of an earlier response. The id may be its approval's."""
        said = {"name": redact(name), "args": args}
        for one in self.items:
            if one.kind == "mcp_call":
                approval = one.item.get("approval_request_id")
                if approval == call_id or (approval is None and _says(one, said)):
                    return True
        return call_id in self.answered()

    def discard(self, output: OutputItems) -> Iterator[Event]:
        """Close the items that were sent in part, and name the discarded items.

        A discarded call gets a result, which is discarded too. Otherwise a client that does not know the event would
        keep a call without a result, which it cannot send back.
        """
        gone = {one.index: str(one.item["id"]) for one in self.discarded}
        for one in self.discarded:
            yield from one.closing()
            if one.kind == "function_call" and one.item["call_id"] not in self._answers:
                index, result = output.open(), item_events.function_call_output_item(one.item["call_id"], RESUMED)
                gone[index] = result["id"]
                yield item_events.item_added(index, result)
                yield item_events.item_done(index, result)
        if gone:
            yield events.items_discarded(list(gone), list(gone.values()))

    def has_result(self, message: BaseMessage) -> bool:
        """Whether this result of a tool was sent and is valid."""
        return isinstance(message, ToolMessage) and any(one is message for one in self.message_of.values())

    def has_told(self, message: BaseMessage) -> bool:
        """Whether the item of this message was sent and is valid."""
        return any(one is message for one in self.message_of.values())

    def is_partly_sent(self, message: BaseMessage) -> bool:
        """Whether this message was streamed and is not valid in the log. Then it is public and is sent again."""
        if any(one is message for one in self._begun_of.values()):
            return True
        return message.id in self._spoken and all(one is not message for one in self.message_of.values())

    def _match(self, message: BaseMessage) -> None:
        if isinstance(message, ToolMessage):
            self._match_result(message)
        elif is_summary(message):
            self._take(message, COMPACTION, lambda one: one.item["id"] == message.id)
        elif isinstance(message, AIMessage):
            if thought := _bare(redact(join_surrogates(reasoning_of(message)))):
                self._take(message, "reasoning", lambda one: _bare(one.shown) == thought)
            said = redact(join_surrogates(visible_content_of(message).whole)).strip()
            if said and not self._take(message, "message", lambda one: one.shown.strip() == said):
                self._begin(message, said)
            for call in message.tool_calls:
                self._requests.append(_Request(message, call, self._item_of_call(message, call)))

    def _take(self, message: BaseMessage, kind: str, fits: Callable[[LoggedItem], bool]) -> bool:
        found = next((one for one in self._free if one.kind == kind and fits(one)), None)
        if found is not None:
            self._free.remove(found)
            self.message_of[found.index] = message
        return found is not None

    def _begin(self, message: AIMessage, said: str) -> None:
        found = next((one for one in self._begun if one.shown.strip() and said.startswith(one.shown.strip())), None)
        if found is not None:
            self._begun.remove(found)
            self._begun_of[found.index] = message

    def _item_of_call(self, message: AIMessage, call: Any) -> LoggedItem | None:
        if client_call_in(message, call, {}) is not None:
            # Only by its id: its arguments are as the model has written them.
            same = [one for one in self._free if one.kind in CLIENT_CALLS and one.item["call_id"] == call["id"]]
        else:
            same = [one for one in self._free if one.kind == "function_call" and _says(one, call)]
        # The id that was sent is the provider's, unless another call had it.
        found = next(iter(sorted(same, key=lambda one: one.item["call_id"] != call["id"])), None)
        if found is not None:
            self._free.remove(found)
        return found

    def _match_result(self, message: ToolMessage) -> None:
        requests = [
            one for one in self._requests if not one.answered and (one.call["id"] or "") == message.tool_call_id
        ]
        results = [pair for one in requests for pair in self._results_of(one)]
        # Parallel calls may share an id: the result that says the same is the right one.
        same = next((pair for pair in results if _output_of(pair[1]) == _text_for(pair[0], message)), None)
        if same is None:
            self._other_results.update(item.index for _, item in results)
            if len(requests) == 1:
                requests[0].answered = True
            return
        request, item = same
        request.answered = True
        self._free.remove(item)
        self.message_of[item.index] = message
        if item.kind == "mcp_call":
            request.item = item

    def _results_of(self, request: _Request) -> Sequence[tuple[_Request, LoggedItem]]:
        call_id = request.item.item["call_id"] if request.item is not None else None
        return [
            (request, one)
            for one in self._free
            if (one.kind == "function_call_output" and one.item["call_id"] == call_id)
            or (one.kind == "mcp_call" and _says(one, _call_on_server(request)))
        ]


def _call_on_server(request: _Request) -> Any:
    """The call as an `mcp_call` names it."""
    served = served_call_in(request.message, request.call, {})
    return request.call if served is None else {**request.call, "name": served.name}


def _says(one: LoggedItem, call: Any) -> bool:
    said = (redact(call["name"]), arguments_of(call["args"]))
    return (one.item["name"], one.item["arguments"]) == tuple(map(join_surrogates, said))


def _text_for(request: _Request, message: ToolMessage) -> str:
    """What the item of this result says, if it is that of this call."""
    return join_surrogates(public_text(message, redact(request.call["name"])))


def _output_of(one: LoggedItem) -> Any:
    return one.item["output"] if one.item.get("error") is None else one.item["error"]


def _bare(text: str) -> str:
    return "".join(text.split())


NOTHING_RESUMED = ResumedItems(NOTHING_LOGGED, ())
"""What a response that begins goes on with. One for all of them, since nobody changes it."""
