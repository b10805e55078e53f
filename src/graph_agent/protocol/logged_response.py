"""Reads one response from a log of events: its head, its items, and how it ended.

A log may stop at any event, because the process that wrote it died. For an item that was opened and not closed,
`LoggedItem.closing` yields the events that close it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_agent.protocol import events, item_events
from graph_agent.protocol.events import NODE, TERMINAL, Event, Item, Status

RESUMED = "the run was resumed before this tool returned"
"""The result of a call that is discarded: for clients, a call without a result is an unfinished turn."""

NEVER_RETURNED = "the run ended before this tool returned"
"""The result of a call that still waits when the run ends."""

_SUBSTITUTES = (RESUMED, NEVER_RETURNED)


@dataclass(slots=True)
class _Part:
    """A part of an item that was opened."""

    place: int
    kind: str
    shown: str = ""
    annotations: list[dict[str, Any]] = field(default_factory=list)
    text_done: bool = False

    def so_far(self) -> dict[str, Any]:
        """The part with what it holds until now."""
        match self.kind:
            case "summary_text":
                return {"type": self.kind, "text": self.shown}
            case "refusal":
                return item_events.refusal_part(self.shown)
        return item_events.text_part(self.shown, self.annotations)


@dataclass(slots=True, eq=False)
class LoggedItem:
    """One item of the output, as far as it was sent."""

    index: int
    item: Item
    """As the last of `output_item.added` and `output_item.done` has it."""
    done: bool = False
    shown: str = ""
    """The text, reasoning or arguments so far."""
    _parts: list[dict[str, Any]] = field(default_factory=list)
    _part: _Part | None = None
    _tool_ended: bool = False

    @property
    def kind(self) -> str:
        """The item's `type`."""
        return str(self.item["type"])

    @property
    def whole(self) -> bool:
        """Whether all of it was sent.

        A message or a call that was broken off is closed, but not whole. Neither is a result that this service wrote in
        place of the tool's: the process may die before the event that discards it, or before the terminal event.
        """
        if self.item.get("output") in _SUBSTITUTES or self.item.get("error") in _SUBSTITUTES:
            return False
        return self.done and self.item.get("status") not in ("incomplete", "in_progress")

    def add(self, event: Event) -> None:
        """An event about this item, after the one that opened it."""
        match event["type"].removeprefix("response."):
            case "content_part.added" | "reasoning_summary_part.added":
                self._part = _Part(event.get("content_index", 0), event["part"]["type"])
            case "output_text.annotation.added" if self._part:
                self._part.annotations.append(event["annotation"])
            case "output_text.done" | "refusal.done" | "reasoning_summary_text.done" if self._part:
                self._part.text_done = True
            case "content_part.done" | "reasoning_summary_part.done":
                self._parts.append(event["part"])
                self._part = None
            case "mcp_call.completed" | "mcp_call.failed" | "mcp_list_tools.completed" | "mcp_list_tools.failed":
                self._tool_ended = True
            case "output_item.done":
                self.item, self.done = event["item"], True
            case _ if "delta" in event:
                self.shown += event["delta"]
                if self._part:
                    self._part.shown += event["delta"]

    def so_far(self) -> Item:
        """The item with what it holds until now. One that is open is `in_progress`."""
        if self.done:
            return self.item
        parts = [*self._parts, *([] if self._part is None else [self._part.so_far()])]
        match self.kind:
            case "message":
                return {**self.item, "content": parts}
            case "reasoning":
                return {**self.item, "summary": parts}
            case "function_call" | "mcp_call":
                return {**self.item, "arguments": self.shown or self.item["arguments"]}
            case "custom_tool_call":
                return {**self.item, "input": self.shown or self.item["input"]}
        return self.item

    def closing(self, words: str = RESUMED) -> Iterator[Event]:
        """The events that close it: as `incomplete`, or a call as `failed`, with these words. None for an item that is
        closed."""
        if self.done:
            return
        if self._part is not None:
            yield from self._part_closing(self._part)
        item = self.item
        match self.kind:
            case "message":
                item = {**item, "status": "incomplete", "content": list(self._parts)}
            case "reasoning":
                item = {**item, "summary": list(self._parts)}
            case "function_call":
                item = {**item, "status": "incomplete", "arguments": self.shown}
            case "custom_tool_call":
                item = {**item, "status": "incomplete", "input": self.shown}
            case "mcp_call":
                item = {**item, "status": "failed", "arguments": self.shown, "error": words}
                if not self._tool_ended:
                    yield item_events.mcp_call_progress(item["id"], self.index, "failed")
            case "mcp_list_tools":
                item = {**item, "error": words}
                if not self._tool_ended:
                    yield item_events.tool_list_progress(item["id"], self.index, "failed")
        self.item, self.done = item, True
        yield item_events.item_done(self.index, item)

    def _part_closing(self, part: _Part) -> Iterator[Event]:
        item_id, index, text = self.item["id"], self.index, part.shown
        done: tuple[Event, Event]
        match part.kind:
            case "summary_text":
                done = (
                    item_events.reasoning_text_done(item_id, index, text),
                    item_events.reasoning_part_done(item_id, index, text),
                )
            case "refusal":
                content = item_events.refusal_part(text)
                done = (
                    item_events.refusal_done(item_id, index, part.place, text),
                    item_events.part_done(item_id, index, part.place, content),
                )
            case _:
                content = item_events.text_part(text, part.annotations)
                done = (
                    item_events.text_done(item_id, index, part.place, text),
                    item_events.part_done(item_id, index, part.place, content),
                )
        for event in done[part.text_done :]:
            yield event
            self.add(event)


@dataclass(slots=True)
class LoggedResponse:
    """One response as its log has it."""

    items: dict[int, LoggedItem] = field(default_factory=dict)
    """By `output_index`, in the order opened; without those that were discarded already."""
    taken: int = 0
    """How many items were opened; the next one has this index."""
    call_ids: set[str] = field(default_factory=set)
    """The ids of all calls, of those that were discarded too: no other call gets such an id."""
    response: Mapping[str, Any] = field(default_factory=dict)
    """The response object of the last event that has one."""
    sent: set[str] = field(default_factory=set)
    """The types of the events about the response itself that are in the log."""
    error: Mapping[str, Any] | None = None
    """The fields of an `error` event."""
    nodes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """The nodes of the graph by id, in the order in which they began, as their last events have them."""

    @classmethod
    def read(cls, log: Iterable[Event]) -> "LoggedResponse":
        """The events of one response in their order, from the first one on."""
        logged = cls()
        for event in log:
            logged._add(event)
        return logged

    @property
    def status(self) -> Status:
        """As the last event says it; the one error frame of `/invocations` is a terminal event too. A queued response
        has not ended, so it counts as `in_progress`."""
        if self.error is not None and "databricks_output" in self.error:
            return "failed"
        status: Status = self.response.get("status", "in_progress")
        return "in_progress" if status == "queued" else status

    def so_far(self, head: Mapping[str, Any]) -> dict[str, Any]:
        """The response object until now. `head` is used while no event has one."""
        if self.response.get("status") not in (None, "queued", "in_progress"):
            return dict(self.response)
        return {**(self.response or head), "output": [one.so_far() for _, one in sorted(self.items.items())]}

    def _add(self, event: Event) -> None:
        kind = event["type"]
        if "response" in event:
            self.response = event["response"]
            self.sent.add(kind)
            if kind in TERMINAL:
                # Only the terminal event says which message was the answer, if that was unknown when it was closed.
                self._settle(event["response"]["output"])
        elif kind == "error":
            self.error = event
        elif kind == NODE:
            self.nodes[event["node"]["id"]] = event["node"]
        elif kind == events.ITEMS_DISCARDED:
            for index in event["output_indexes"]:
                self.items.pop(index, None)
        elif kind == "response.output_item.added":
            index = event["output_index"]
            self.items[index] = LoggedItem(index, event["item"])
            self.taken = max(self.taken, index + 1)
            if call_id := event["item"].get("call_id"):
                self.call_ids.add(call_id)
        elif event.get("output_index") in self.items:
            self.items[event["output_index"]].add(event)

    def _settle(self, output: Iterable[Item]) -> None:
        last = {item["id"]: item for item in output}
        self.items = {index: one for index, one in self.items.items() if one.item["id"] in last}
        for one in self.items.values():
            one.item = last[one.item["id"]]


NOTHING_LOGGED = LoggedResponse()
"""The log of a response that begins. One for all of them, since nobody changes it."""
