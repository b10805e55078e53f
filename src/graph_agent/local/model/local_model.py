"""Chat completions from a model inside this process, with tool calls by constrained decoding."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from graph_agent.errors import PromptTooLong
from graph_agent.local.model.chat_request import AnswerKind, Call, ChatRequest, Message, calls_in, current_turn
from graph_agent.local.model.chunks import Chunk, ChunkWriter, Token, tokens_told
from graph_agent.local.model.constrained_calls import ReplyReader, reply_grammar
from graph_agent.local.model.engine import Engine, EngineOptions, Piece, Turn
from graph_agent.local.model.prompt_trimming import trim_once
from graph_agent.local.model.prompts import chat_turns

MOST_ROUNDS = 6
"""Rounds of calls in one turn, after which only text is allowed. Small models can call tools forever."""


class Decoder(Protocol):
    """The interface of an engine that `LocalModel` needs."""

    @property
    def window(self) -> int:
        """Tokens of prompt and answer together."""

    async def prompt_of(self, turns: Sequence[Turn]) -> str:
        """The turns in the model's chat template."""

    async def count(self, text: str) -> int:
        """Number of tokens of a text."""

    def generate(self, prompt: str, beginning: str = "", **parameters: Any) -> AsyncGenerator[Piece, None]:
        """Stream the continuation of a prompt, of which other prompts share the beginning.

        Closing the iterator stops the decoding.
        """

    async def aclose(self) -> None:
        """Free the memory of the model."""


@dataclass(slots=True)
class _Reply:
    """The state of an answer besides its text."""

    calls: list[Call] = field(default_factory=list)
    has_text: bool = False
    cut_off: bool = False
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    untold: list[Mapping[str, Any]] = field(default_factory=list)
    """The tokens since the last text, with their probabilities."""

    def add(self, piece: Piece) -> None:
        self.untold += piece.probabilities
        self.cut_off = piece.stopped == "length"
        if piece.prompt_tokens and not self.prompt_tokens:
            # A second attempt has the same prompt, and says only what the first one has read.
            self.prompt_tokens, self.cached_tokens = piece.prompt_tokens, piece.cached_tokens
        self.output_tokens += piece.output_tokens

    def told(self, likeliest: int | None) -> list[Token] | None:
        """The tokens of the text that is about to be told; None if nobody asked for them."""
        tokens, self.untold = self.untold, []
        return None if likeliest is None else tokens_told(tokens, likeliest)

    def ending(self, chunks: ChunkWriter) -> Iterator[Chunk]:
        yield from chunks.calls(self.calls)
        yield chunks.finish("length" if self.cut_off else "tool_calls" if self.calls else "stop")
        yield chunks.usage(
            prompt_tokens=self.prompt_tokens, cached_tokens=self.cached_tokens, output_tokens=self.output_tokens
        )


class LocalModel:
    """A GGUF model that answers chat completions requests. Closing the iterator of an answer stops its decoding."""

    def __init__(self, decoder: Decoder, *, name: str) -> None:
        self._decoder = decoder
        self._name = name

    @classmethod
    def open(cls, path: Path, options: EngineOptions | None = None) -> Self:
        """Load a GGUF file. Blocks for seconds.

        Raises:
            LocalModelFailed: the message says what is wrong with the file or the installation.
        """
        return cls(Engine.open(path, options or EngineOptions()), name=path.stem)

    @classmethod
    async def load(cls, path: Path, options: EngineOptions | None = None) -> Self:
        """Run `open` in a thread."""
        return await asyncio.to_thread(cls.open, path, options)

    async def aclose(self) -> None:
        """Stop the model and free its memory."""
        await self._decoder.aclose()

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """Answer a chat completions request. The last chunk has the usage.

        Raises:
            InvalidRequest: the value of a field is not supported.
            PromptTooLong: the instructions and the last question do not fit the window.
            LocalModelFailed: the model stopped answering.
        """
        request = ChatRequest.of(body)
        prompt = await self._fitting_prompt(request)
        chunks, reply = ChunkWriter(model=str(body.get("model") or self._name)), _Reply()
        yield chunks.start()
        async with aclosing(self._texts(prompt, request, reply)) as texts:
            async for text in texts:
                yield chunks.text(text, reply.told(request.likeliest))
        for chunk in reply.ending(chunks):
            yield chunk

    async def count_tokens(self, body: Mapping[str, Any]) -> int:
        """How many tokens the model would read for a chat completions request, if all of it fitted.

        Raises:
            InvalidRequest: the value of a field is not supported.
            LocalModelFailed: the model does not answer.
        """
        request = ChatRequest.of(body)
        return await self._decoder.count(await self._decoder.prompt_of(chat_turns(request, request.messages)))

    async def _fitting_prompt(self, request: ChatRequest) -> str:
        # `max_tokens` reserves room for the answer, but at most a quarter of the window: clients send large values.
        most = self._decoder.window - min(request.max_tokens, self._decoder.window // 4)
        messages: Sequence[Message] | None = request.messages
        while messages is not None:
            prompt = await self._decoder.prompt_of(chat_turns(request, messages))
            if await self._decoder.count(prompt) <= most:
                return prompt
            messages = trim_once(messages)
        raise PromptTooLong(
            f"the instructions and the last question are longer than the {most} tokens that this model can read"
        )

    async def _beginning(self, request: ChatRequest) -> str:
        """What the prompts of all conversations with these instructions and tools begin with.

        Empty without tools: the check of an answer has the end of its conversation in its instructions.
        """
        if not request.tools:
            return ""
        turns = chat_turns(request, [one for one in request.messages if one["role"] in ("system", "developer")])
        return await self._decoder.prompt_of(turns)

    async def _texts(self, prompt: str, request: ChatRequest, reply: _Reply) -> AsyncGenerator[str, None]:
        """Stream the text of the answer. Everything else goes into `reply`."""
        made = _calls_of_turn(request.messages)
        answers: list[AnswerKind] = [request.answer]
        if request.answer == "either":
            # If all its calls repeat earlier ones, the model has to answer in text in a second attempt. After the last
            # round of calls it has to immediately.
            answers = ["text"] if len(made) >= MOST_ROUNDS else ["either", "text"]
        for answer in answers:
            async with aclosing(self._generated(prompt, request, answer, reply)) as texts:
                async for text in texts:
                    reply.has_text = True
                    yield text
            new = [call for call in reply.calls if not any(call.key in calls for calls in made)]
            if answer != "either" or new or not reply.calls or reply.has_text:
                break
        if request.answer == "either":
            reply.calls = new

    async def _generated(
        self, prompt: str, request: ChatRequest, answer: AnswerKind, reply: _Reply
    ) -> AsyncGenerator[str, None]:
        tools = () if answer == "text" else request.callable_tools
        # Without the tokens of calls that are not told, after which this is the second attempt.
        reply.untold = []
        beginning = await self._beginning(request)
        parameters = {**request.sampling, "n_predict": request.max_tokens}
        if request.likeliest is not None:
            # llama.cpp tells no probabilities for 0.
            parameters["n_probs"] = max(1, request.likeliest)
        if request.tools or request.schema:
            parameters["grammar"] = reply_grammar(tools, answer, request.schema)
        reader = ReplyReader(tools)
        async with aclosing(self._decoder.generate(prompt, beginning, **parameters)) as pieces:
            async for piece in pieces:
                reply.add(piece)
                if text := reader.feed(piece.text):
                    yield text
        rest, reply.calls = reader.finish()
        if rest:
            yield rest


def _calls_of_turn(messages: Sequence[Message]) -> list[set[tuple[str, str]]]:
    """The calls since the last user message, one set for each round. Failed calls count too."""
    rounds = [{call.key for _, call in calls_in(message)} for message in current_turn(messages)]
    return [calls for calls in rounds if calls]
