"""Tells a run as a chat completion: whole, or as the chunks of a stream.

It reads the response and the events that the other dialects send, so that every dialect says the same:

- All texts of the run are the content, in the order of the output, with an empty line between them.
- A call of a tool of the client is sent whole when the graph has kept it, because a chunk cannot be taken back. A tool
  that the service ran is not told.
- Citations come with the last delta. Their places count in the whole content.
- A failed run ends the stream with a frame that has an `error`.

Source: OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graph_agent.protocol.chat_fields import in_chat_words
from graph_agent.protocol.events import Event, Item

Chunk = dict[str, Any]

PARAGRAPH = "\n\n"

TOLD = frozenset(
    (
        "response.created",
        "response.output_item.added",
        "response.output_text.delta",
        "response.refusal.delta",
        "response.output_text.annotation.added",
        "response.reasoning_summary_text.delta",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
        "error",
    )
)
"""The events that chunks are made of. The others need not be read."""

CALLS: Mapping[str, tuple[str, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}
"""Items that are calls of the client -> the type of the call, and the field with what the model wrote."""


def completion_id(response_id: str) -> str:
    """The id of the chat completion of a response."""
    return f"chatcmpl-{response_id.removeprefix('resp_')}"


def completion_of(response: Mapping[str, Any], *, reasoning: bool, logprobs: bool = False) -> dict[str, Any]:
    """The chat completion of a response that has ended. With `reasoning`, it has that of the models, and with
    `logprobs` the probabilities of the tokens of its content."""
    texts = _Texts()
    content, refusals, thoughts = [], [], []
    annotations: list[dict[str, Any]] = []
    tokens: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for item in response["output"]:
        if item["type"] == "message":
            for place, part in enumerate(item["content"]):
                if part["type"] == "refusal":
                    refusals.append(part["refusal"])
                    continue
                content.append(texts.shown(item["id"], place, part["text"]))
                tokens += part["logprobs"]
                annotations += [texts.placed(item["id"], place, one) for one in part["annotations"]]
        elif item["type"] == "reasoning":
            thoughts += [part["text"] for part in item["summary"]]
        elif item["type"] in CALLS and item["status"] == "completed":
            calls.append(_call(item))
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(content) or (None if calls or refusals else ""),
        "refusal": PARAGRAPH.join(refusals) or None,
        "annotations": annotations,
    }
    if calls:
        message["tool_calls"] = calls
    if reasoning and thoughts:
        message["reasoning_content"] = PARAGRAPH.join(thoughts)
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": _finish_reason(response, bool(calls)),
        "logprobs": _logprobs(tokens) if logprobs else None,
    }
    completion = {
        "id": completion_id(response["id"]),
        "object": "chat.completion",
        "created": response["created_at"],
        "model": response["model"],
        "choices": [choice],
        "usage": _usage(response),
        **_outputs(response),
    }
    if response["metadata"]:
        completion["metadata"] = response["metadata"]
    return completion


class ChunkWriter:
    """Turns the events of one run into chunks, in order."""

    def __init__(self, *, include_usage: bool, reasoning: bool, logprobs: bool = False) -> None:
        """With `include_usage`, the last chunk has the usage. With `reasoning`, chunks have that of the models. With
        `logprobs`, they have the probabilities of the tokens of their content."""
        self._logprobs = logprobs
        self._tokens: list[dict[str, Any]] = []
        """Those of the text that the next chunk has."""
        self._include_usage = include_usage
        self._reasoning = reasoning
        self._head: Chunk = {}
        self._texts = _Texts()
        self._open: dict[str, list[Event]] = {}
        """The messages that are not closed, in the order of the output. Only the first one is told, because models may
        speak at the same time; of the others, the events wait."""
        self._closed: set[str] = set()
        self._thinker: str | None = None
        self._refuser: str | None = None
        self._annotations: list[dict[str, Any]] = []
        self._calls = 0

    def chunks(self, events: Iterable[Event]) -> Iterator[Chunk]:
        """The chunks of these events. Texts that follow each other are one chunk."""
        kind, gathered = "", list[str]()
        for event in events:
            for name, value in self._deltas(event):
                if gathered and name != kind:
                    yield self._chunk({kind: "".join(gathered)})
                    gathered.clear()
                if isinstance(value, str):
                    kind = name
                    gathered.append(value)
                elif name == "frame":
                    yield value
                else:
                    yield self._chunk(value)
        if gathered:
            yield self._chunk({kind: "".join(gathered)})

    def _deltas(self, event: Event) -> Iterator[tuple[str, Any]]:
        """Pieces of text with the name of their field, or deltas, or frames."""
        match event["type"]:
            case "response.output_text.delta" | "response.refusal.delta" | "response.output_text.annotation.added":
                waiting = self._open.get(event["item_id"])
                if waiting is None or next(iter(self._open)) == event["item_id"]:
                    yield from self._said(event)
                else:
                    waiting.append(event)
            case "response.reasoning_summary_text.delta" if self._reasoning:
                between = PARAGRAPH if self._thinker not in (None, event["item_id"]) else ""
                self._thinker = event["item_id"]
                yield "reasoning_content", between + event["delta"]
            case "response.output_item.added" if event["item"]["type"] == "message":
                self._open[event["item"]["id"]] = []
            case "response.output_item.done":
                yield from self._done(event["item"])
            case "response.created":
                response = event["response"]
                self._head = {
                    "id": completion_id(response["id"]),
                    "object": "chat.completion.chunk",
                    "created": response["created_at"],
                    "model": response["model"],
                }
                yield "delta", {"role": "assistant", "content": ""}
            case "response.completed" | "response.incomplete":
                yield from self._end(event["response"])
            case "error":
                yield "frame", {"error": {**event["error"], "message": in_chat_words(event["error"]["message"])}}

    def _said(self, event: Event) -> Iterator[tuple[str, Any]]:
        item, place = event["item_id"], event["content_index"]
        if event["type"] == "response.output_text.delta":
            if self._logprobs:
                self._tokens += event["logprobs"]
            yield "content", self._texts.shown(item, place, event["delta"])
        elif event["type"] == "response.refusal.delta":
            between = PARAGRAPH if self._refuser not in (None, item) else ""
            self._refuser = item
            yield "refusal", between + event["delta"]
        else:
            self._annotations.append(self._texts.placed(item, place, event["annotation"]))

    def _done(self, item: Item) -> Iterator[tuple[str, Any]]:
        if item["type"] == "message":
            self._closed.add(item["id"])
            while self._open and (first := next(iter(self._open))) in self._closed:
                del self._open[first]
                # The next one is told from here on.
                for event in self._open.get(following := next(iter(self._open), ""), ()):
                    yield from self._said(event)
                if following:
                    self._open[following].clear()
        elif item["type"] in CALLS and item["status"] == "completed":
            yield "delta", {"tool_calls": [{"index": self._calls, **_call(item)}]}
            self._calls += 1

    def _end(self, response: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        if self._annotations:
            yield "delta", {"annotations": self._annotations}
        last = self._chunk({}, _finish_reason(response, self._calls > 0))
        yield "frame", {**last, **_outputs(response)}
        if self._include_usage:
            yield "frame", {**self._head, "choices": [], "usage": _usage(response)}

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> Chunk:
        logprobs = None
        if self._tokens and "content" in delta:
            logprobs, self._tokens = _logprobs(self._tokens), []
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        chunk = {**self._head, "choices": [choice]}
        # As OpenAI has it: null in every chunk but the last.
        return {**chunk, "usage": None} if self._include_usage else chunk


class _Texts:
    """Where the texts of messages stand in the content."""

    def __init__(self) -> None:
        self._length = 0
        self._item: str | None = None
        self._begins: dict[tuple[str, int], int] = {}

    def shown(self, item: str, place: int, text: str) -> str:
        """The piece of the content that this text of a part adds."""
        if not text:
            return ""
        between = ""
        if self._item != item:
            between = PARAGRAPH if self._length else ""
            self._item = item
            self._length += len(between)
        self._begins.setdefault((item, place), self._length)
        self._length += len(text)
        return between + text

    def placed(self, item: str, place: int, annotation: Mapping[str, Any]) -> dict[str, Any]:
        """A citation of a part, as this API has it."""
        begins = self._begins.get((item, place), 0)
        inner = {name: value for name, value in annotation.items() if name != "type"}
        for name in ("start_index", "end_index"):
            inner[name] += begins
        return {"type": annotation["type"], annotation["type"]: inner}


def _call(item: Item) -> dict[str, Any]:
    kind, written = CALLS[item["type"]]
    return {"id": item["call_id"], "type": kind, kind: {"name": item["name"], written: item[written]}}


def _logprobs(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": tokens, "refusal": None}


def _finish_reason(response: Mapping[str, Any], calls: bool) -> str:
    if response["status"] == "incomplete":
        return "content_filter" if response["incomplete_details"]["reason"] == "content_filter" else "length"
    return "tool_calls" if calls else "stop"


def _usage(response: Mapping[str, Any]) -> dict[str, Any]:
    usage = response["usage"]
    return {
        "prompt_tokens": usage["input_tokens"],
        "completion_tokens": usage["output_tokens"],
        "total_tokens": usage["total_tokens"],
        "prompt_tokens_details": usage["input_tokens_details"],
        "completion_tokens_details": usage["output_tokens_details"],
    }


def _outputs(response: Mapping[str, Any]) -> dict[str, Any]:
    """What the graph has put out beside the answer, and the warnings."""
    outputs = response.get("custom_outputs")
    if not outputs:
        return {}
    if isinstance(warnings := outputs.get("warnings"), list):
        outputs = {**outputs, "warnings": [in_chat_words(one) if isinstance(one, str) else one for one in warnings]}
    return {"custom_outputs": outputs}
