"""Converts one streamed answer to a `Turn`. It does no I/O, and gets the time of each line from its caller."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from graph_agent.evaluating.records import Turn

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_ITEM_EVENTS = re.compile(r"response\.(?:output_text|content_part|function_call_arguments|mcp_call)")


class Listener:
    """Reads a stream: call `feed` for every line, then `end`. `turn.problems` lists what was wrong with the stream."""

    def __init__(self, question: str, *, answered: Sequence[Mapping[str, Any]] = ()) -> None:
        """`answered` are the approvals that the request answers. Their calls have results in this stream."""
        self.turn = Turn(question=question)
        self._answered = {str(one["id"]): one for one in answered}
        self._number = 0
        self._open: dict[str, int] = {}
        self._done: dict[str, Mapping[str, Any]] = {}
        self._deltas: dict[str, str] = {}
        self._terminal = False
        self._over = False

    def feed(self, line: str, *, seconds: float) -> None:
        """Read one line of the body, which arrived `seconds` after the request was sent."""
        # Lines with a colon are comments, which keep a quiet connection open.
        if not line or line.startswith(":"):
            return None
        if not line.startswith("data: "):
            return self._problem(f"a line that is not a frame: {line[:40]!r}")
        if self._over:
            return self._problem("a frame after [DONE]")
        if line == "data: [DONE]":
            self._over = True
            return None
        try:
            event = json.loads(line.removeprefix("data: "))
        except ValueError:
            return self._problem("a frame that is not JSON")
        # The frame with the trace, which the runner's header asks for. It is not an event and has no number.
        if isinstance(event, dict) and "trace_id" in event and "type" not in event:
            self.turn.trace_id = event["trace_id"]
            return None
        try:
            return self._event(event, seconds)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            return self._problem(f"an event that cannot be read ({type(error).__name__}): {line[6:46]!r}")

    def end(self, *, seconds: float) -> Turn:
        """Finish the stream and return the turn."""
        self.turn.seconds = seconds
        if not self._terminal:
            self._problem("no terminal event")
        if not self._over:
            self._problem("no [DONE] at the end")
        return self.turn

    def _event(self, event: Mapping[str, Any], seconds: float) -> None:
        kind = str(event.get("type"))
        if event.get("sequence_number") != self._number:
            self._problem(f"{kind} has sequence_number {event.get('sequence_number')}, not {self._number}")
        self._number += 1
        if self._terminal:
            self._problem(f"{kind} after the terminal event")
        if (self._number == 1) != (kind == "response.created"):
            self._problem(f"{kind} is event {self._number} of the stream")
        if kind == "response.output_item.added":
            self._added(event)
        elif kind == "response.output_item.done":
            self._closed(event)
        elif _ITEM_EVENTS.match(kind) and event.get("item_id") not in self._open:
            self._problem(f"{kind} for an item that is not open")
        if kind == "response.output_text.delta":
            # An empty delta shows nothing to a reader, so it is not the first token.
            if self.turn.first_token_seconds is None and event["delta"]:
                self.turn.first_token_seconds = seconds
            self._deltas[event["item_id"]] = self._deltas.get(event["item_id"], "") + event["delta"]
        elif kind == "error":
            self.turn.error = {"code": event.get("code"), "message": event.get("message")}
        elif kind in TERMINAL:
            self._ended(event["response"])

    def _added(self, event: Mapping[str, Any]) -> None:
        item_id = event["item"].get("id")
        if item_id in self._open or item_id in self._done:
            self._problem(f"item {item_id} was opened twice")
        # Indexes count items in the order in which they open.
        if event.get("output_index") != len(self._open) + len(self._done):
            self._problem(f"item {item_id} has output_index {event.get('output_index')}")
        self._open[item_id] = event.get("output_index", -1)

    def _closed(self, event: Mapping[str, Any]) -> None:
        item = event["item"]
        if item.get("id") not in self._open:
            self._problem(f"item {item.get('id')} was closed and is not open")
        self._open.pop(item.get("id"), None)
        self._done[item.get("id")] = item
        streamed = self._deltas.get(item.get("id"), "")
        if item["type"] == "message" and streamed != text_of(item):
            self._problem(f"the deltas of item {item.get('id')} are not its text")

    def _ended(self, response: Mapping[str, Any]) -> None:
        self._terminal = True
        turn = self.turn
        turn.status = response["status"]
        turn.response_id = response.get("id")
        if response.get("store"):
            turn.conversation = (response.get("custom_outputs") or {}).get("thread_id")
        turn.items = list(response["output"])
        turn.usage = response.get("usage") or {}
        # The `error` event came first and has the same content.
        turn.error = turn.error or response.get("error")
        turn.retrieved = list((response.get("custom_outputs") or {}).get("sources") or [])
        if self._open:
            self._problem(f"items left open: {', '.join(self._open)}")
        if [item.get("id") for item in turn.items] != list(self._done):
            self._problem("the response's output is not the items of the stream")
        self._read(turn)

    def _read(self, turn: Turn) -> None:
        outputs = {item["call_id"]: item["output"] for item in turn.items if item["type"] == "function_call_output"}
        called = set()
        for item in turn.items:
            if item["type"] == "function_call":
                called.add(item["call_id"])
                turn.calls.append(
                    {
                        "name": item["name"],
                        "arguments": _arguments(item["arguments"]),
                        "call_id": item["call_id"],
                        "output": outputs.get(item["call_id"]),
                    }
                )
            elif item["type"] == "function_call_output" and item["call_id"] in self._answered:
                asked = self._answered[item["call_id"]]
                turn.calls.append(
                    {
                        "name": asked["name"],
                        "arguments": _arguments(asked["arguments"]),
                        "call_id": item["call_id"],
                        "output": item["output"],
                    }
                )
            elif item["type"] == "function_call_output" and item["call_id"] not in called:
                self._problem(f"a result of {item['call_id']}, which was not called before it")
            elif item["type"] == "message" and item.get("phase") != "commentary":
                # Read here and not from the deltas: only the final output marks which messages were commentary.
                turn.answer += text_of(item)
                notes = [note for part in item["content"] for note in part.get("annotations") or []]
                turn.cited += [note["url"] for note in notes if note.get("type") == "url_citation"]

    def _problem(self, what: str) -> None:
        # A broken stream can have a problem in every event, and the first ones say enough.
        if len(self.turn.problems) < 20:
            self.turn.problems.append(what)


def text_of(item: Mapping[str, Any]) -> str:
    """Return a message's text."""
    return "".join(part.get("text", "") for part in item["content"])


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
