"""Chat completions as LangChain's messages: whole bodies and the frames of a stream, in whatever shape they come."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from graph_agent.model_tool_calls import CallReader, whole_calls
from graph_agent.models.content import ContentReader, joined
from graph_agent.models.model_errors import EMPTY, InvalidModelAnswer
from graph_agent.sse_events import EventReader, ServerSentEvent

DONE = "[DONE]"
ENDPOINT = "endpoint"
"""Key in `response_metadata`: which serving endpoint wrote the message, and so can read what it signed."""

EXTRAS = "tool_call_extras"
"""Key in `additional_kwargs`: fields of the endpoint's own in its calls, by call id; it wants to see them again."""

WEB_PAGE = "answered with a web page in place of a completion: check its address, and what stands before it"
UNREADABLE = "gave an answer that is no chat completion: check that it is a chat endpoint, and look at its logs"
NO_CHOICE = "gave an answer without a choice: check that it is a chat endpoint, and look at its logs"
ENDED_WITH_ERROR = "ended its answer with an error: look at its logs, and try again"
TOO_LARGE = "gave an answer that is too large: ask for less"
BROKEN_OFF = "broke its answer off: try again"

Json = Mapping[str, Any]


class CompletionReader:
    """Reads the frames of one streamed answer of that endpoint."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._content = ContentReader()
        self._calls = CallReader()
        self._begun = False
        self._complete = False
        self._done = False
        self._told_extras: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether the stream has said that nothing follows."""
        return self._done

    def read(self, event: ServerSentEvent) -> Iterator[ChatGenerationChunk]:
        """What an event tells.

        Raises:
            InvalidModelAnswer: it is an error, or no piece of a completion.
        """
        data = event.data.strip()
        if data == DONE:
            self._done = self._complete = True
        elif data and not self._done:
            frame = parsed(data)
            _refuse_faults(frame)
            yield from self._frame(frame)

    def end(self) -> Iterator[ChatGenerationChunk]:
        """What was held back until the stream ended.

        Raises:
            InvalidModelAnswer: nothing was told, or the end is missing.
        """
        if not self._begun:
            raise InvalidModelAnswer(EMPTY)
        if not self._complete:
            raise InvalidModelAnswer(BROKEN_OFF)
        if rest := self._calls.rest():
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=rest))

    def _frame(self, frame: Json) -> Iterator[ChatGenerationChunk]:
        delta, info = self._delta(frame)
        usage = usage_of(frame.get("usage"))
        if delta is None and usage is None:
            return
        delta = delta or {}
        blocks = self._content.read(delta.get("content"))
        more = _beside(delta)
        calls = self._calls.read(_calls_of(delta))
        if calls:
            more |= self._new_extras()
        if not (blocks or more or calls or info or usage):
            return
        message = AIMessageChunk(
            content=_streamed(blocks),
            additional_kwargs=more,
            tool_call_chunks=calls,
            usage_metadata=usage,
            response_metadata={} if self._begun else {ENDPOINT: self._endpoint},
        )
        self._begun = True
        yield ChatGenerationChunk(message=message, generation_info=info or None)

    def _delta(self, frame: Json) -> tuple[Json | None, dict[str, Any]]:
        if not isinstance(frame.get("choices"), list):
            delta = frame.get("delta")
            if not isinstance(delta, Mapping):
                return None, {}
            # An agent's endpoint: it need not say how it ended.
            self._complete = True
            return (delta if delta.get("role") in (None, "assistant") else {}), {}
        choice = _first(frame["choices"])
        if choice is None:
            return None, {}
        info = {key: choice[key] for key in ("finish_reason", "logprobs") if choice.get(key)}
        self._complete = self._complete or "finish_reason" in info
        delta = choice.get("delta") or choice.get("message")
        return (delta if isinstance(delta, Mapping) else {}), info

    def _new_extras(self) -> dict[str, Any]:
        # Each once: LangChain would add texts up.
        new = {id: more for id, more in self._calls.extras().items() if id not in self._told_extras}
        self._told_extras |= set(new)
        return {EXTRAS: {id: dict(more) for id, more in new.items()}} if new else {}


def read_completion(body: bytes, endpoint: str) -> ChatResult:
    """The result in a body, whether it holds a completion or, unasked, a stream of them.

    Raises:
        InvalidModelAnswer: it holds neither, or an error.
    """
    match kind_of_body(body):
        case "nothing":
            raise InvalidModelAnswer(EMPTY)
        case "page":
            raise InvalidModelAnswer(WEB_PAGE)
        case "stream":
            return _of_stream(body, endpoint)
    answer = parsed(body)
    _refuse_faults(answer)
    choices = answer.get("choices")
    if not isinstance(choices, list) and isinstance(answer.get("messages"), list):
        choices = _of_agent(answer["messages"])
    chosen = [choice for choice in choices or () if isinstance(choice, Mapping)]
    if not chosen:
        raise InvalidModelAnswer(NO_CHOICE)
    usage = usage_of(answer.get("usage"))
    named = {"model_name": answer["model"]} if isinstance(answer.get("model"), str) else {}
    return ChatResult(generations=[_generation(choice, usage, endpoint) for choice in chosen], llm_output=named)


def kind_of_body(body: bytes) -> str:
    """What a body is by its first character: `nothing`, a `page`, a `completion`, or else a `stream`."""
    kinds = {b"": "nothing", b"<": "page", b"{": "completion", b"[": "completion", b'"': "completion"}
    return kinds.get(body[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()[:1], "stream")


def result_as_chunk(result: ChatResult) -> ChatGenerationChunk:
    """A whole answer as the one piece of a stream."""
    generation = result.generations[0]
    message = AIMessageChunk(**generation.message.model_dump(exclude={"type"}))
    return ChatGenerationChunk(message=message, generation_info=generation.generation_info)


def parsed(data: bytes | str) -> Json:
    """A JSON object.

    Raises:
        InvalidModelAnswer: it is none.
    """
    try:
        found = orjson.loads(data)
    except ValueError:
        found = _leniently(data)
    if not isinstance(found, dict):
        raise InvalidModelAnswer(UNREADABLE)
    return found


def usage_of(told: Any) -> UsageMetadata | None:
    """Token usage; what Claude read from or wrote into its cache counts as input, as it does everywhere else."""
    if not isinstance(told, Mapping) or not any(_count(told, key) for key in ("prompt_tokens", "completion_tokens")):
        return None
    given, written = _mapping(told, "prompt_tokens_details"), _mapping(told, "completion_tokens_details")
    read, made = _count(told, "cache_read_input_tokens"), _count(told, "cache_creation_input_tokens")
    prompt, completion = _count(told, "prompt_tokens"), _count(told, "completion_tokens")
    if not given:
        prompt += read + made
    usage = UsageMetadata(
        input_tokens=prompt,
        output_tokens=completion,
        total_tokens=_count(told, "total_tokens") or prompt + completion,
    )
    if cached := _count(given, "cached_tokens") or read:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached)
    if made:
        usage["input_token_details"] = InputTokenDetails(cache_read=cached, cache_creation=made)
    if thought := _count(written, "reasoning_tokens"):
        usage["output_token_details"] = OutputTokenDetails(reasoning=thought)
    return usage


def _generation(choice: Json, usage: UsageMetadata | None, endpoint: str) -> ChatGeneration:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    good, bad, extras = whole_calls(_calls_of(message))
    said = AIMessage(
        content=joined(ContentReader().read(message.get("content"))),
        additional_kwargs=_beside(message) | ({EXTRAS: extras} if extras else {}),
        tool_calls=good,
        invalid_tool_calls=bad,
        usage_metadata=usage,
        response_metadata={ENDPOINT: endpoint},
    )
    info = {key: choice[key] for key in ("finish_reason", "logprobs") if choice.get(key)}
    return ChatGeneration(message=said, generation_info=info)


def _of_stream(body: bytes, endpoint: str) -> ChatResult:
    reader, events = CompletionReader(endpoint), EventReader()
    chunks = [chunk for event in [*events.feed(body), *events.end()] for chunk in reader.read(event)]
    chunks += reader.end()
    merged = chunks[0]
    for chunk in chunks[1:]:
        merged += chunk
    told: Any = merged.message
    content = told.content if isinstance(told.content, str) else joined(told.content)
    said = AIMessage(
        **told.model_dump(exclude={"type", "content", "tool_call_chunks", "chunk_position"}), content=content
    )
    return ChatResult(generations=[ChatGeneration(message=said, generation_info=merged.generation_info)])


def _of_agent(messages: list[Any]) -> list[Json]:
    """An agent's endpoint tells every step; its last word is the answer."""
    said = [one for one in messages if isinstance(one, Mapping) and one.get("role", "assistant") == "assistant"]
    return [{"message": said[-1]}] if said else []


def _first(choices: list[Any]) -> Json | None:
    found = (one for one in choices if isinstance(one, Mapping) and one.get("index") in (None, 0))
    return next(found, None)


def _calls_of(delta: Json) -> Any:
    # Endpoints of the first hour know one call, without an id.
    return delta.get("tool_calls") or delta.get("function_call")


def _beside(delta: Json) -> dict[str, Any]:
    """What stands beside the content: a refusal, and reasoning as open models' servers tell it."""
    found = {}
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thought, str) and thought:
        found["reasoning_content"] = thought
    if isinstance(delta.get("refusal"), str) and delta["refusal"]:
        found["refusal"] = delta["refusal"]
    return found


def _streamed(blocks: list[Any]) -> Any:
    if all(isinstance(block, str) for block in blocks):
        return "".join(blocks)
    return blocks


def _refuse_faults(frame: Json) -> None:
    """An error told where an answer was expected, with the status it names."""
    told = frame.get("error")
    choices = frame.get("choices")
    if not told and isinstance(choices, list):
        ended = [one for one in choices if isinstance(one, Mapping) and _went_wrong(one)]
        told = ended[0].get("error", True) if ended else None
    elif not told and "delta" not in frame and not isinstance(frame.get("messages"), list):
        told = frame if any(frame.get(key) for key in ("error_code", "message", "detail")) else None
    if told:
        raise InvalidModelAnswer(ENDED_WITH_ERROR, status=_status_of(told) or _status_of(frame))


def _went_wrong(choice: Json) -> bool:
    return bool(choice.get("error")) or choice.get("finish_reason") == "error"


def _status_of(told: Any) -> int | None:
    if not isinstance(told, Mapping):
        return None
    for key in ("error_code", "code", "status", "status_code", "http_status"):
        value = told.get(key)
        if isinstance(value, str) and value in STATUSES:
            return STATUSES[value]
        if isinstance(value, str) and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


STATUSES: Mapping[str, int] = {
    "BAD_REQUEST": 400,
    "INVALID_PARAMETER_VALUE": 400,
    "context_length_exceeded": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "ENDPOINT_NOT_FOUND": 404,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "rate_limit_exceeded": 429,
    "INTERNAL_ERROR": 500,
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Databricks' error codes, and two of OpenAI's, as the statuses they go with."""


def _leniently(data: bytes | str) -> Any:
    # Halves of an emoji, which orjson refuses; the next frame has the other half.
    try:
        return json.loads(data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data)
    except (ValueError, RecursionError):
        return None


def _mapping(told: Json, key: str) -> Json:
    found = told.get(key)
    return found if isinstance(found, Mapping) else {}


def _count(told: Json, key: str) -> int:
    found = told.get(key)
    return int(found) if isinstance(found, int | float) and 0 <= found < 1e15 else 0
