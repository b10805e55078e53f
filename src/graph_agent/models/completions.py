"""Chat completions as LangChain messages: complete bodies and frames of a stream, in all forms endpoints use."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from graph_agent.model_tool_calls import CallReader, whole_calls
from graph_agent.models.completion_faults import ENDED_EARLY, NO_CHOICE, UNREADABLE, WEB_PAGE, refuse_errors
from graph_agent.models.content import ContentReader, joined
from graph_agent.models.model_errors import EMPTY, InvalidModelAnswer
from graph_agent.models.usage import usage_of_completion
from graph_agent.sse_events import EventReader, ServerSentEvent

DONE = "[DONE]"
ENDPOINT = "endpoint"
"""Key in `response_metadata`: the serving endpoint that wrote the message. Only it can read its signatures."""

EXTRAS = "tool_call_extras"
"""Key in `additional_kwargs`: the endpoint's additional fields in tool calls, by call id. It expects them back."""

Json = Mapping[str, Any]


class CompletionReader:
    """Reads the frames of one streamed answer."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._content = ContentReader()
        self._calls = CallReader()
        self._begun = False
        self._complete = False
        self._done = False
        self._sent_extras: set[str] = set()

    @property
    def done(self) -> bool:
        """Whether the stream has sent its end marker."""
        return self._done

    def read(self, event: ServerSentEvent) -> Iterator[ChatGenerationChunk]:
        """The chunks of an event.

        Raises:
            InvalidModelAnswer: the event is an error, or not part of a completion.
        """
        data = event.data.strip()
        if data == DONE:
            self._done = self._complete = True
        elif data and not self._done:
            frame = parsed(data)
            refuse_errors(frame)
            yield from self._frame(frame)

    def end(self) -> Iterator[ChatGenerationChunk]:
        """The chunks that were held back until the end of the stream.

        Raises:
            InvalidModelAnswer: the answer is empty, or its end is missing.
        """
        if not self._begun:
            raise InvalidModelAnswer(EMPTY)
        if not self._complete:
            raise InvalidModelAnswer(ENDED_EARLY)
        if rest := self._calls.rest():
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=rest))

    def _frame(self, frame: Json) -> Iterator[ChatGenerationChunk]:
        delta, info = self._delta(frame)
        usage = usage_of_completion(frame.get("usage"))
        if delta is None and usage is None:
            return
        delta = delta or {}
        blocks = self._content.read(delta.get("content"))
        more = _other_fields(delta)
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
            # An agent's endpoint, which does not have to send a finish reason.
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
        # Each only once, as LangChain would concatenate repeated strings.
        new = {id: more for id, more in self._calls.extras().items() if id not in self._sent_extras}
        self._sent_extras |= set(new)
        return {EXTRAS: {id: dict(more) for id, more in new.items()}} if new else {}


def read_completion(body: bytes, endpoint: str) -> ChatResult:
    """The result in a body: a completion, or a stream that an endpoint sent without being asked for one.

    Raises:
        InvalidModelAnswer: it is neither, or an error.
    """
    match kind_of_body(body):
        case "nothing":
            raise InvalidModelAnswer(EMPTY)
        case "page":
            raise InvalidModelAnswer(WEB_PAGE)
        case "stream":
            return _of_stream(body, endpoint)
    answer = parsed(body)
    refuse_errors(answer)
    choices = answer.get("choices")
    if not isinstance(choices, list) and isinstance(answer.get("messages"), list):
        choices = _of_agent(answer["messages"])
    chosen = [choice for choice in choices or () if isinstance(choice, Mapping)]
    if not chosen:
        raise InvalidModelAnswer(NO_CHOICE)
    usage = usage_of_completion(answer.get("usage"))
    named = {"model_name": answer["model"]} if isinstance(answer.get("model"), str) else {}
    return ChatResult(generations=[_generation(choice, usage, endpoint) for choice in chosen], llm_output=named)


def kind_of_body(body: bytes) -> str:
    """The kind of a body by its first character: `nothing`, `page`, `completion`, or otherwise `stream`."""
    kinds = {b"": "nothing", b"<": "page", b"{": "completion", b"[": "completion", b'"': "completion"}
    # Some servers send a byte order mark or blank lines first.
    return kinds.get(body[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()[:1], "stream")


def result_as_chunk(result: ChatResult) -> ChatGenerationChunk:
    """A complete answer as the only chunk of a stream."""
    generation = result.generations[0]
    message = AIMessageChunk(**generation.message.model_dump(exclude={"type"}))
    return ChatGenerationChunk(message=message, generation_info=generation.generation_info)


def parsed(data: bytes | str) -> Json:
    """The JSON object in a text.

    Raises:
        InvalidModelAnswer: it is not a JSON object.
    """
    try:
        found = orjson.loads(data)
    except ValueError:
        found = _leniently(data)
    if not isinstance(found, dict):
        raise InvalidModelAnswer(UNREADABLE)
    return found


def _generation(choice: Json, usage: UsageMetadata | None, endpoint: str) -> ChatGeneration:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    good, bad, extras = whole_calls(_calls_of(message))
    said = AIMessage(
        content=joined(ContentReader().read(message.get("content"))),
        additional_kwargs=_other_fields(message) | ({EXTRAS: extras} if extras else {}),
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
    whole: Any = merged.message
    content = whole.content if isinstance(whole.content, str) else joined(whole.content)
    # Without the fields that only chunks have.
    message = AIMessage(
        **whole.model_dump(exclude={"type", "content", "tool_call_chunks", "chunk_position"}), content=content
    )
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=merged.generation_info)])


def _of_agent(messages: list[Any]) -> list[Json]:
    """An agent's endpoint returns every step. Its last assistant message is the answer."""
    said = [one for one in messages if isinstance(one, Mapping) and one.get("role", "assistant") == "assistant"]
    return [{"message": said[-1]}] if said else []


def _first(choices: list[Any]) -> Json | None:
    found = (one for one in choices if isinstance(one, Mapping) and one.get("index") in (None, 0))
    return next(found, None)


def _calls_of(delta: Json) -> Any:
    # The oldest form of the API, still in use: one call without an id.
    return delta.get("tool_calls") or delta.get("function_call")


def _other_fields(delta: Json) -> dict[str, Any]:
    """Fields beside the content: a refusal, and reasoning as servers of open models send it."""
    found = {}
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if isinstance(thought, str) and thought:
        found["reasoning_content"] = thought
    if isinstance(delta.get("refusal"), str) and delta["refusal"]:
        found["refusal"] = delta["refusal"]
    return found


def _streamed(blocks: list[Any]) -> Any:
    # A string where possible: LangChain merges strings of chunks, and most readers expect them.
    if all(isinstance(block, str) for block in blocks):
        return "".join(blocks)
    return blocks


def _leniently(data: bytes | str) -> Any:
    # A frame may end with half of an emoji, which orjson refuses. The next frame has the other half.
    try:
        return json.loads(data.decode("utf-8", errors="replace") if isinstance(data, bytes) else data)
    except (ValueError, RecursionError):
        return None
