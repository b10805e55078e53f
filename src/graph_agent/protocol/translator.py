"""A synchronous state machine without I/O that turns LangGraph stream parts into Responses events.

    start ──► feed* ──► finish | cut | cut_off | fail        exactly one terminal event, everything opened is closed

What is public:

- A model's text streams while the model writes it, also in subgraphs. It does not if the model run is private (inside a
  tool, for structured output, a middleware's own) or tagged `nostream`; `runs.audience` decides that.
- A message that no model streamed is held back. It is shown only if it is the last one left at the end, the answer.
- Text that precedes tool calls or another message becomes an item of its own with `phase: commentary`.
- Tool calls and tool results are public items. What a tool did inside is not, nor the message of an exception.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Self

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, RemoveMessage, ToolMessage

from graph_agent.answer_form import IN_FORM
from graph_agent.client_tools import NO_TOOLS, ClientTools
from graph_agent.errors import AgentError
from graph_agent.found_documents import Finding
from graph_agent.known_messages import KnownMessages
from graph_agent.protocol import events, item_events
from graph_agent.protocol.approvals import Approval
from graph_agent.protocol.compaction import compaction_item
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.document_events import DocumentEvents
from graph_agent.protocol.events import Event, Item, ResponseHead, Status, Usage
from graph_agent.protocol.final_state import FinalState, after_known_history, all_messages, messages_in, updates_in
from graph_agent.protocol.finish_reasons import SENTENCES, EarlyEnd, early_end_of
from graph_agent.protocol.interrupts import INTERRUPT, Interrupted, Interrupts
from graph_agent.protocol.logged_response import NOTHING_LOGGED, LoggedResponse
from graph_agent.protocol.message_items import MessageItems
from graph_agent.protocol.output_items import OutputItems
from graph_agent.protocol.requested_calls import Namespace
from graph_agent.protocol.resumed_items import NOTHING_RESUMED, ResumedItems
from graph_agent.protocol.returned_messages import ReturnedMessages
from graph_agent.protocol.steering import SENTENCE, STEERED
from graph_agent.protocol.steps import TASKS, NodeTimes, Steps, StepStatus
from graph_agent.protocol.tool_call_items import CUT_OFF, InputsOf, ResumedCall, ToolCallItems
from graph_agent.protocol.tool_list_items import ToolListItems
from graph_agent.protocol.visible_content import visible_content_of
from graph_agent.redaction import redact, redact_value
from graph_agent.summaries import SEALED

SPEAKER = "graph_agent_speaker"
"""Key in a stream part's metadata: the model run that speaks. Absent if that run is private."""

METADATA = "__metadata__"
"""The key under which LangGraph's `updates` say that a node did not run again."""

STREAM_MODES = ["messages", "updates", "values", "tools"]
"""What a run asks LangGraph for: tokens, what nodes return, what the state holds, and when tools begin and end."""

BEFORE_START = ("response.created", "response.queued")
"""The first events of a run that is queued. OpenAI sends both."""

BUDGET_SENTENCES: Mapping[str, str] = {
    "event_bytes": "I stopped here: the answer grew beyond the size that one run may have.",
    "steps": "I stopped here: this answer would take more steps than one run may use.",
    "tool_calls": "I stopped here: this answer would take more tool calls than one run may use.",
    "seconds": "I stopped here: the time for one run was used up.",
    "output_tokens": "I stopped here: the length limit of one run was reached.",
    "tokens_per_day": "I stopped here: your tokens of this day are used up.",
}

FAILURE_SENTENCE = "I stopped here because of an error: {message}."
"""At the end of a text that was begun, on the addresses whose clients do not show an error after it."""


class Translator:
    """Turns one run's stream parts into one response's events.

    `known` are the messages the caller sent; a node that returns them again adds nothing. `server` is the label of
    `mcp_call` items in the OpenAI dialect. With `plain`, nothing is sent before the end, so the response leaves out
    what the graph took back. `inputs_of` returns the inputs of the tool call that has this message as its result. With
    `steps`, the response tells the nodes of the graph too, and the graph must be run with the stream mode `TASKS`.
    `client` are the tools that the client runs. `warnings` returns what else the response warns of, at its end. With
    `answer_only`, no text but the answer is a message, because clients parse every message: texts do not stream, and
    commentary becomes reasoning. With `logprobs`, texts have the probabilities of their tokens.
    """

    def __init__(
        self,
        *,
        dialect: Dialect,
        head: ResponseHead,
        known: Iterable[BaseMessage] = (),
        server: str = "agent",
        plain: bool = False,
        inputs_of: InputsOf = lambda result: None,
        steps: bool = False,
        client: ClientTools = NO_TOOLS,
        warnings: Callable[[], Sequence[str]] = tuple,
        answer_only: bool = False,
        logprobs: bool = False,
    ) -> None:
        self._logprobs = logprobs
        self._warnings = warnings
        self._answer_only = answer_only
        self._known = KnownMessages(known)
        self._streams_calls = bool(client)
        self._dialect = dialect
        self._head = head
        self._returned = ReturnedMessages(self._known)
        self._state: Any = None
        self._last_request: AIMessage | None = None
        self._logged = NOTHING_LOGGED
        self._resumed = NOTHING_RESUMED
        self._interrupts = Interrupts()
        self._output = OutputItems()
        self._speech = MessageItems(self._output, plain=plain, answer_only=answer_only, logprobs=logprobs)
        self._calls = ToolCallItems(
            self._output, dialect=dialect, server=server, known=self._known, inputs_of=inputs_of, client=client
        )
        self._lists = ToolListItems(self._output, dialect=dialect)
        self._plain, self._server = plain, server
        self._answers: list[tuple[str, str]] = []
        self._documents = DocumentEvents()
        self.steps = Steps(next_index=lambda: self._output.taken) if steps else None
        """The nodes of the graph, if the response tells them."""
        self.asked: list[Approval] = []
        """The approvals that the response asks for, with the ids of the calls that they are about."""
        self.custom_outputs: dict[str, Any] = {}
        self.ended = False
        self.status: Status = "in_progress"
        """The status in the terminal event."""

    @classmethod
    def restored(
        cls,
        log: Iterable[Event],
        *,
        state: Any = None,
        below: Iterable[BaseMessage] = (),
        spoken: Collection[str] = (),
        head: ResponseHead,
        known: Iterable[BaseMessage] = (),
        **more: Any,
    ) -> Self:
        """A translator that continues where the `log` of an earlier attempt at the same run stops.

        `state` are the values of the checkpoint from which the graph resumes. `below` are the messages in checkpoints
        of subgraphs that have not ended. `spoken` are the ids of the messages that were streamed before the checkpoint:
        the log may have stopped earlier. `head` takes the response's id and time from the log. `more` is as for a new
        translator. Use the result like a new translator: `start` yields the events that are needed to continue.

        The response keeps its id, and valid items keep their ids and indexes. Every other item is discarded: it is
        closed if it was sent in part, named in an `items_discarded` event, and left out of the terminal event's output.
        What only the checkpoint has is sent whole.
        """
        logged, known = LoggedResponse.read(log), list(known)
        if logged.response:
            head = replace(head, id=logged.response["id"], created_at=logged.response["created_at"])
        translator = cls(head=head, known=known, **more)
        translator._restore(logged, state, below, spoken)
        return translator

    def _restore(
        self, logged: LoggedResponse, state: Any, below: Iterable[BaseMessage], spoken: Collection[str]
    ) -> None:
        self._state, self._logged = state, logged
        values = state.get("messages") if isinstance(state, Mapping) else None
        # A summary stands in the state before what is known of it.
        made = [one for one in all_messages(values) if SEALED in one.additional_kwargs]
        summaries = [one for one in made if not self._known.has(one.id)]
        messages = [*summaries, *FinalState.read(state, self._known).messages, *below]
        resumed = self._resumed = ResumedItems(logged, messages, spoken)
        self.status = logged.status
        self.ended = self.status != "in_progress"
        if self.ended or logged.error is not None:
            # Nothing runs again, so everything that was sent counts.
            resumed.items, resumed.discarded = list(logged.items.values()), []
        self._output.restore({one.index: one.item for one in resumed.items}, logged.taken)
        self._speech.restore(resumed)
        self._calls.restore(resumed, logged.call_ids)
        if self.steps is not None:
            self.steps.restore(logged.nodes.values())
        outputs = state.get("custom_outputs") if isinstance(state, Mapping) else None
        if isinstance(outputs, Mapping):
            self.custom_outputs.update(redact_value(outputs))

    @property
    def output(self) -> list[Item]:
        """Every item closed so far, in the order opened."""
        return self._output.items

    @property
    def answer(self) -> str:
        """The visible text so far, closed items and open ones, commentary left out."""
        return "\n".join(self._speech.texts)

    @property
    def whole_answer(self) -> str | None:
        """The answer that the graph has left, once it has ended by itself. `None` if that is not its last word: it
        waits for the client, its model was cut off, or its model declines."""
        left = FinalState.read(self._state, self._known)
        if self._calls.awaits_client or left.requested is not None:
            return None
        answer = self._answer_of(left)
        if answer is None:
            return ""
        said = visible_content_of(answer)
        if early_end_of(answer.response_metadata) is not None or (said.refusal and not said.text):
            return None
        return said.whole

    @property
    def message_ids(self) -> dict[str, str]:
        """Item id -> id of the message in the state, for the message items of a run that has ended."""
        values = self._state.get("messages") if isinstance(self._state, Mapping) else None
        return self._speech.message_ids(_IdsFromEnd(all_messages(values)))

    @property
    def interrupted(self) -> Interrupted | None:
        """What the graph waits for, or `None`. Complete once the graph has ended."""
        return self._interrupts.ending

    @property
    def awaits_only_client(self) -> bool:
        """Whether only the client can go on: it has to answer calls, and the graph has none left to run."""
        return self._calls.awaits_only_client

    @property
    def awaited_of_client(self) -> set[str]:
        """The calls that the client has to answer, by the ids that the graph knows."""
        return self._calls.awaited_of_client

    def awaits(self, calls: Iterable[ResumedCall]) -> None:
        """Calls of an earlier response that the client has not answered. They are told again if the graph ends on
        them. Call it after `continues`, before `start`."""
        self._calls.resume(calls, self._resumed)

    def resumes(self, calls: Iterable[ResumedCall], answers: Iterable[tuple[str, str]]) -> None:
        """The graph goes on after approvals. `calls` wait for their results, and `answers` are answered questions:
        approval id -> the answer as text. Call it after `continues`, before `start`."""
        self._calls.resume(calls, self._resumed)
        self._answers = [one for one in answers if one[0] not in self._resumed.answered()]

    def continues(self, history: KnownMessages, given: Sequence[BaseMessage]) -> None:
        """The graph knows the messages of `history`, and is given these instead. Call it before `start`."""
        self._known = history.and_then(given)
        self._returned = ReturnedMessages(self._known)
        self._calls.continues(history)

    # -- the life of a response ---------------------------------------------------------------------------------

    def queued(self) -> Iterator[Event]:
        """`response.created` and `response.queued`, with which the log of a background run begins before it starts."""
        for kind in BEFORE_START:
            yield events.lifecycle(kind, self._head.response("queued"))

    def start(self) -> Iterator[Event]:
        """`response.created` and `response.in_progress`. For a restored translator, the events it needs to continue.

        The log of a background run has what `queued` yields already.
        """
        if self.ended:
            return
        for kind in (
            ("response.in_progress",) if self._head.background else ("response.created", "response.in_progress")
        ):
            if kind not in self._logged.sent:
                yield events.lifecycle(kind, self._head.response("in_progress"))
        yield from self._close_steps()
        if (error := self._logged.error) is not None:
            yield self._failed(error, Usage())
            return
        yield from self._answered_questions()
        yield from self._resumed.discard(self._output)
        for message in self._resumed.messages:
            if self._resumed.is_partly_sent(message) and isinstance(message, AIMessage):
                yield from self._speech.write_again(message)
            if (sealed := message.additional_kwargs.get(SEALED)) is not None:
                if not self._resumed.has_told(message):
                    yield from self.compacted(compaction_item(str(message.id), sealed))
            elif self._resumed.has_result(message):
                # Only remembered, not passed on: another call may wait under the same provider's id, and this is not
                # its result.
                self._returned.is_repeated(message, top=True)
            else:
                yield from self._returned_messages([message], ())

    def compacted(self, item: Item) -> Iterator[Event]:
        """The history was compacted before the graph runs. Call it between `start` and the first part."""
        yield from self._restated([item])

    def lists_tools(self, labels: Sequence[str]) -> Iterator[Event]:
        """The MCP servers with these labels are asked for their tools. Call it between `start` and the first part."""
        yield from self._lists.begin(labels)

    def has_listed(self, label: str, tools: Sequence[Mapping[str, Any]], error: str | None = None) -> Iterator[Event]:
        """A server has these tools, which hold no secret, or there is no list because of this error."""
        yield from self._lists.end(label, tools, error)

    def next_delta(self, message: BaseMessage, metadata: Mapping[str, Any]) -> list[Event] | None:
        """What `feed` yields for a token that only goes on with an open text, as nearly all do. `None` for any other:
        `feed` takes that one."""
        if message.__class__ is not AIMessageChunk or self._calls.holding:
            return None
        speaker = metadata.get(SPEAKER)
        if speaker is None or (self._streams_calls and message.tool_call_chunks):
            return None
        return self._speech.next_delta(speaker, message)

    def feed(self, part: Mapping[str, Any]) -> Iterator[Event]:
        """One stream part: its `type`, one of `STREAM_MODES`, its namespace `ns` and its `data`."""
        kind = part["type"]
        if kind == "updates" and _is_cached(part["data"]):
            # What a node returned before the graph was resumed. An earlier response has it.
            return iter(())
        fed = self._fed(kind, part)
        return chain(self._calls.go_on(), fed) if self._calls.holding and _goes_on(kind, part) else fed

    def _fed(self, kind: str, part: Mapping[str, Any]) -> Iterator[Event]:
        if kind == "messages":
            message, metadata = part["data"]
            speaker = metadata.get(SPEAKER)
            # LangGraph also streams whole messages in this mode. Those come with `updates` too and are read there.
            if speaker is not None and isinstance(message, AIMessageChunk):
                said = self._speech.spoke(speaker, message, in_form=IN_FORM in metadata)
                # Not before the text in front of a call is known, which then is reasoning.
                if self._streams_calls and not self._answer_only and message.tool_call_chunks:
                    return chain(said, self._wrote_calls(speaker, message))
                return said
        elif kind in ("updates", "values") and isinstance(part["data"], Mapping) and INTERRUPT in part["data"]:
            self._interrupts.feed(part["data"], part["ns"])
        elif kind == "updates":
            return self._nodes_returned(part["data"], part["ns"])
        elif kind == "values" and not part["ns"]:
            # Only the last values count, so they are read at the end and not for each step.
            self._state = part["data"]
        elif kind == "tools":
            return self._tool_event(part["data"], part["ns"])
        elif kind == TASKS and self.steps is not None:
            return self.steps.feed(part["data"], part["ns"])
        return iter(())

    def _wrote_calls(self, speaker: str, chunk: AIMessageChunk) -> Iterator[Event]:
        if self._calls.of_client.begins(chunk):
            yield from self._speech.turns_to_calls(speaker)
        yield from self._calls.of_client.heard(speaker, chunk)

    # -- what callbacks have seen, besides the stream -----------------------------------------------------------

    def node_began(self, task: str, times: NodeTimes) -> Iterator[Event]:
        """An attempt at a node begins. `task` is LangGraph's id of its task, here and below."""
        return iter(()) if self.steps is None else self.steps.began(task, times)

    def node_stopped(self, task: str, at: float, status: StepStatus) -> Iterator[Event]:
        """An attempt at a node ends, at this time of the monotonic clock."""
        if self.steps is not None:
            self.steps.stopped(task, at, status)
        return iter(())

    def has_found(self, task: str, found: Finding) -> Iterator[Event]:
        """A search in a node that runs has found documents."""
        step = None if self.steps is None else self.steps.running(task)
        if step is not None:
            call_id = yield from self._calls.searched(step.place[:-1], found.call_id)
            yield self._documents.event(found, node_id=step.id, call_id=call_id)

    # -- the end of a response ----------------------------------------------------------------------------------

    def finish(self, usage: Usage) -> Iterator[Event]:
        """The run ended by itself. Close what is open, with the last message left as the answer.

        The terminal event is `response.incomplete` if the answer's model was cut off, else `response.completed`. A
        graph that is `interrupted` has not ended by itself.
        """
        left = FinalState.read(self._state, self._known)
        # Without a state, the last message that a node returned decides.
        requested = left.requested if self._state is not None else self._last_request
        if requested is not None and self._calls.await_answers(requested):
            if ending := early_end_of(requested.response_metadata):
                yield from self.cut_off(ending, usage)
                return
            yield from self._speech.show_aside(requested)
        # The last message may be the result of another tool, which is not the answer then.
        answer = None if self._calls.awaits_client else self._answer_of(left)
        yield from self._calls.finish(requested)
        removed = self._returned.removed(left) if self._state is not None else set()
        ending = yield from self._speech.finish(answer, removed=removed)
        yield from self._close_steps()
        if ending is None:
            yield self._terminal("response.completed", "completed", usage=usage.fields())
        else:
            yield self._cut_off(ending, usage)

    def goes_on_with(self, given: Sequence[BaseMessage], *, given_up: Collection[str] = ()) -> Iterator[Event]:
        """The graph has answered, and runs again within this response, with these messages. `given_up` are calls of the
        client of which they say that there is no result, by the ids that the graph knows."""
        left = FinalState.read(self._state, self._known)
        answer = None if self._calls.awaits_client else self._answer_of(left)
        answered = {one.tool_call_id for one in given if isinstance(one, ToolMessage)}
        yield from self._calls.give_up(given_up)
        yield from self._calls.finish(left.requested, answered=answered)
        removed = self._returned.removed(left) if self._state is not None else set()
        yield from self._speech.finish(answer, removed=removed)
        self._speech = MessageItems(
            self._output, plain=self._plain, answer_only=self._answer_only, logprobs=self._logprobs
        )
        self._state, self._last_request, self._interrupts = None, None, Interrupts()
        self.continues(self._known.and_then(left.messages), given)

    def ask(self, approvals: Iterable[Approval], usage: Usage) -> Iterator[Event]:
        """The graph waits for these approvals. Ends with `response.completed`."""
        self.asked = yield from self._calls.ask(approvals)
        left = FinalState.read(self._state, self._known)
        last = left.messages[-1] if left.messages else None
        # A tool's result is not the answer here: other tools wait.
        if isinstance(last, AIMessage) and not last.tool_calls:
            yield from self._speech.finish(self._answer_of(left))
        else:
            yield from self._speech.break_off()
        yield from self._restated([one.item(self._server) for one in self.asked])
        yield from self._close_steps()
        yield self._terminal("response.completed", "completed", usage=usage.fields())

    def restate(self, items: Iterable[Item], usage: Usage) -> Iterator[Event]:
        """A response with these items, without running anything."""
        yield from self._restated(items)
        yield self._terminal("response.completed", "completed", usage=usage.fields())

    def repeat(self, response: Mapping[str, Any]) -> Iterator[Event]:
        """A response that was sent before."""
        yield from self._restated(response["output"])
        self.ended, self.status = True, response["status"]
        yield events.lifecycle("response.completed", dict(response))

    def _restated(self, items: Iterable[Item]) -> Iterator[Event]:
        for item in items:
            index = self._output.open()
            yield from item_events.whole_item(index, item)
            yield self._output.close(index, item)

    def _answered_questions(self) -> Iterator[Event]:
        """The page that asks a person waits for a result under the approval's id."""
        if self._dialect.tool_items == "function_call":
            for approval, text in self._answers:
                index, output = self._output.open(), item_events.function_call_output_item(approval, redact(text))
                yield item_events.item_added(index, output)
                yield self._output.close(index, output)

    def cut(self, budget: str, usage: Usage) -> Iterator[Event]:
        """A budget is used up. Say so in the way of this dialect, then end with `response.incomplete`."""
        yield from self._lists.break_off()
        yield from self._calls.abandon()
        sentence = BUDGET_SENTENCES[budget]
        told = self._dialect.budget_sentence == "text" and not self._answer_only
        yield from self._speech.cut(sentence if told else None)
        yield from self._close_steps()
        self.custom_outputs["budget"] = budget
        # Clients know only two reasons, so the exact budget is in the metadata.
        yield self._incomplete("max_output_tokens", sentence, {"budget": budget}, usage)

    def steered(self, usage: Usage) -> Iterator[Event]:
        """The graph was stopped between two steps, to go on in another response. Ends with `response.incomplete`."""
        yield from self._calls.abandon()
        left = FinalState.read(self._state, self._known)
        last = left.messages[-1] if left.messages else None
        if isinstance(last, AIMessage) and not last.tool_calls:
            yield from self._speech.finish(self._answer_of(left))
        else:
            yield from self._speech.break_off()
        yield from self._close_steps()
        yield self._incomplete(STEERED, SENTENCE, {}, usage)

    def cut_off(self, ending: EarlyEnd, usage: Usage) -> Iterator[Event]:
        """A model was cut off while it asked for tools, so none of them was run."""
        yield from self._calls.abandon(CUT_OFF)
        yield from self._speech.cut(None)
        yield from self._close_steps()
        yield self._cut_off(ending, usage)

    def fail(self, error: AgentError, usage: Usage) -> Iterator[Event]:
        """The run failed. Close what is open as incomplete, then send the error in the form of this dialect."""
        yield from self._lists.break_off()
        yield from self._calls.abandon()
        fields = redact_value(error.fields())
        if self._dialect.failure == "error_frame" and (self.answer or self.output) and not self._answer_only:
            # The stock chat page shows no error after a text, so that the half answer would look like a whole one. If
            # there was no text, it sends the request again, and the tools would run twice.
            yield from self._speech.cut(FAILURE_SENTENCE.format(message=fields["message"]))
        else:
            yield from self._speech.break_off()
        yield from self._close_steps()
        if self._dialect.failure == "error_frame":
            # This one frame replaces both other events: the stock chat page reads no `response.failed`.
            self.ended, self.status = True, "failed"
            yield events.invocations_error(fields)
            return
        yield events.stream_error(fields)
        yield self._failed(fields, usage)

    def failed(self, error: AgentError, usage: Usage) -> Item:
        """The response object of a run that has failed. `/invocations` does not send it."""
        response: Item = self._failed(redact_value(error.fields()), usage)["response"]
        return response

    def _failed(self, fields: Mapping[str, Any], usage: Usage) -> Event:
        summary = {"code": fields["code"], "message": fields["message"]}
        return self._terminal("response.failed", "failed", error=summary, usage=usage.fields())

    def _cut_off(self, ending: EarlyEnd, usage: Usage) -> Event:
        return self._incomplete(ending.reason, SENTENCES[ending.reason], {"finish_reason": ending.cause}, usage)

    def _incomplete(self, reason: str, sentence: str, metadata: Mapping[str, str], usage: Usage) -> Event:
        details = {"reason": reason}
        if self._dialect.budget_sentence == "details":
            details["message"] = sentence
        return self._terminal(
            "response.incomplete",
            "incomplete",
            usage=usage.fields(),
            incomplete_details=details,
            metadata={**self._head.metadata, **metadata},
        )

    def _terminal(self, kind: str, status: Status, **more: Any) -> Event:
        self.ended, self.status = True, status
        # The graph's own outputs count, also one that is named `steps`.
        outputs = self.custom_outputs if self.steps is None else self.steps.summary() | self.custom_outputs
        if warnings := (*self._head.warnings, *self._warnings()):
            outputs = outputs | {"warnings": with_warnings(warnings, outputs.get("warnings"))}
        if outputs:
            more["custom_outputs"] = dict(outputs)
        return events.lifecycle(kind, self._head.response(status, self.output, **more))

    def _close_steps(self) -> Iterator[Event]:
        return iter(()) if self.steps is None else self.steps.close()

    # -- what nodes returned ------------------------------------------------------------------------------------

    def _nodes_returned(self, data: Mapping[str, Any], ns: Namespace) -> Iterator[Event]:
        for update in data.values():
            for values in updates_in(update):
                outputs = values.get("custom_outputs")
                # Those of a subgraph reach the caller only if the subgraph's node returns them.
                if not ns and isinstance(outputs, Mapping):
                    self.custom_outputs.update(redact_value(outputs))
                returned = list(messages_in(values.get("messages")))
                yield from self._returned_messages(after_known_history(returned, self._known), ns)

    def _returned_messages(self, messages: list[BaseMessage], ns: Namespace) -> Iterator[Event]:
        # A node may return a call together with its result. Then the message may be a copy of one from a subgraph.
        answered = [one.tool_call_id for one in messages if isinstance(one, ToolMessage)]
        for message in messages:
            if self._returned.is_repeated(message, top=not ns):
                continue
            match message:
                case RemoveMessage():
                    self._speech.took_back(message.id)
                case ToolMessage():
                    yield from self._calls.answered(message, ns)
                case AIMessage(tool_calls=[_, *_]):
                    self._last_request = message
                    yield from self._speech.requested_tools(message)
                    yield from self._calls.requested(message, ns, answered=answered)
                case AIMessage():
                    self._last_request = None
                    yield from self._speech.returned(message)

    def _tool_event(self, data: Mapping[str, Any], ns: Namespace) -> Iterator[Event]:
        call_id = str(data.get("tool_call_id") or "")
        if data["event"] == "tool-started":
            return self._calls.started(ns, call_id, data.get("input"))
        if data["event"] == "tool-finished":
            return self._calls.finished(ns, call_id, data.get("output"))
        return iter(())

    # -- what the graph left ------------------------------------------------------------------------------------

    def _answer_of(self, left: FinalState) -> AIMessage | None:
        # The functional API may return a mapping. If one of its texts was streamed, that text is the answer, and not
        # the mapping as JSON.
        said = next((text for text in left.loose if self._speech.has_said(text)), None)
        return left.answer if said is None else AIMessage(said)


def with_warnings(warnings: Sequence[str], of_graph: Any) -> list[Any]:
    """The warnings about the request, and the others of the graph, which may have written anything there."""
    return [*warnings, *(one for one in (of_graph if isinstance(of_graph, list) else []) if one not in warnings)]


class _IdsFromEnd:
    """The ids of messages, read from the end as far as they are asked for: a long conversation has many."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._left = (message.id for message in reversed(messages))
        self._read: set[str | None] = set()

    def __contains__(self, message_id: object) -> bool:
        if not message_id or message_id in self._read:
            return bool(message_id)
        for one in self._left:
            self._read.add(one)
            if one == message_id:
                return True
        return False


def _is_cached(data: Any) -> bool:
    marks = data.get(METADATA) if isinstance(data, Mapping) else None
    return isinstance(marks, Mapping) and marks.get("cached") is True


def _goes_on(kind: str, part: Mapping[str, Any]) -> bool:
    """Whether the graph has done something since its last message, other than to ask a person."""
    data = part["data"]
    if kind == "messages":
        return data[1].get(SPEAKER) is not None
    # A node that returns nothing, such as a middleware's, may stand before one that asks.
    return kind == "updates" and INTERRUPT not in data and any(value is not None for value in data.values())
