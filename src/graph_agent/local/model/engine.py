"""Runs llama.cpp inside this process: takes a prompt and streams pieces of text."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from graph_agent.errors import LocalModelFailed, PromptTooLong
from graph_agent.local.machine import usable_processors
from graph_agent.local.model.core_choice import CoreChoice, core_choice, threads_now
from graph_agent.local.model.kept_beginnings import LONGEST, SHORTEST, KeptBeginnings
from graph_agent.local.model.prompt_slots import LARGEST, PromptSlots, ReadingPace, Slot, Tokens, shared
from graph_agent.local.packages import INSTALL
from graph_agent.sse_lines import data_of_line, read_lines_async

Stopped = Literal["end", "length"]
Turn = Mapping[str, str]
"""A chat turn for the model's own template: `role` and `content`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options for starting llama.cpp."""

    window: int = 4096
    """Tokens of prompt and answer together, per request."""

    at_once: int = 2
    """Requests that are decoded at the same time. Others wait."""

    slots: int = 4
    """Prompts that stay in memory, so that the prompt of a continued conversation is not read again."""

    threads: int = field(default_factory=usable_processors)
    """Threads for decoding. With more threads than processors it is many times slower."""

    states: Path | None = None
    """Folder where the states of beginnings of prompts are kept until the next start; None keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of text. The last piece also has the reason for the stop and the token counts."""

    text: str
    probabilities: Sequence[Mapping[str, Any]] = ()
    """The tokens of the text with their probabilities, as llama.cpp tells them if it is asked for `n_probs`."""

    stopped: Stopped | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt that llama.cpp still held and did not read again."""

    output_tokens: int = 0


class Engine:
    """A loaded model behind llama.cpp's HTTP server on loopback. Only this object knows the server's key."""

    def __init__(
        self,
        server: Any,
        *,
        key: str,
        options: EngineOptions,
        cores: CoreChoice | None = None,
        beginnings: KeptBeginnings | None = None,
    ) -> None:
        self._server = server
        self._cores = cores
        self._kept = beginnings
        self._slots = PromptSlots(slots=options.slots, at_once=options.at_once)
        self._pace = ReadingPace()
        self.window = options.window
        # llama.cpp closes a connection after a stream without announcing it. Reusing the connection would fail the next
        # request, so none is kept alive. `trust_env` is off because a proxy cannot reach this loopback port.
        self._client = httpx.AsyncClient(
            base_url=server.listening_address,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=5.0),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    @classmethod
    def open(cls, path: Path, options: EngineOptions) -> Self:
        """Load a GGUF file. Blocks for seconds.

        Raises:
            LocalModelFailed: the file is missing, llama.cpp cannot load it, or `xllamacpp` is not installed.
        """
        key, before = secrets.token_urlsafe(), threads_now()
        server = _start_server(path, options, key)
        # llama.cpp makes the threads that decode when it decodes the first time.
        _decode_once(server.listening_address, key)
        cores = core_choice(threads_now() - before) if options.threads > 1 else None
        return cls(server, key=key, options=options, cores=cores, beginnings=_kept_beginnings(path, options))

    async def prompt_of(self, turns: Sequence[Turn]) -> str:
        """The turns in the model's chat template, up to where its answer begins."""
        return str((await self._post("/apply-template", {"messages": list(turns)}))["prompt"])

    async def count(self, text: str) -> int:
        """Number of tokens of a text."""
        return len(await self._tokens(text))

    async def generate(self, prompt: str, beginning: str = "", **parameters: Any) -> AsyncGenerator[Piece, None]:
        """Stream the continuation of `prompt`. Closing the iterator stops the work, also while the prompt is read.

        Args:
            prompt: the prompt, in the model's chat template.
            beginning: a text with which many prompts begin. What they share with it is kept until the next start.
            parameters: of llama.cpp's `/completion`, such as `n_predict` and `grammar`.

        Raises:
            LocalModelFailed: llama.cpp refused the request or broke off.
            PromptTooLong: the prompt does not fit the window.
        """
        tokens = await self._tokens(prompt)
        if len(tokens) >= self.window:
            raise _too_long()
        kept = await self._kept_beginning(tokens, beginning)
        restorable = len(kept) if kept and self._kept and self._kept.has(self._kept.name(kept)) else 0
        async with self._slots.slot_for(tokens, kept=restorable) as slot:
            cached = await self._read(tokens, slot, kept)
            async with aclosing(self._written(tokens, slot, parameters)) as pieces:
                async for piece in pieces:
                    # llama.cpp counts the pieces that were read before as held.
                    yield replace(piece, cached_tokens=cached) if piece.stopped and cached is not None else piece

    async def _tokens(self, text: str) -> Tokens:
        tokens: Tokens = (await self._post("/tokenize", {"content": text, "add_special": True}))["tokens"]
        return tokens

    async def _kept_beginning(self, tokens: Tokens, beginning: str) -> Tokens:
        if self._kept is None or not beginning:
            return []
        same = shared(tokens, await self._tokens(beginning))
        return tokens[:same] if SHORTEST <= same <= LONGEST else []

    async def _read(self, tokens: Tokens, slot: Slot, beginning: Tokens) -> int | None:
        """Read all but the last piece. Returns how many tokens llama.cpp still held, or None if it read no piece.

        A request that leaves is not read on, so that it takes no longer than one piece to stop.
        """
        name = self._kept.name(beginning) if self._kept and beginning else ""
        held = shared(slot.tokens, tokens)
        if name and held < len(beginning) and await self._restored(name, slot):
            slot.tokens = beginning
            held = len(beginning)
        cached: int | None = None
        while True:
            until = held + self._pace.tokens(self._slots.active)
            if self._to_keep(name) and held < len(beginning) <= until:
                # The state of the slot is that of the beginning only if the piece ends with it.
                until = len(beginning)
            elif until >= len(tokens):
                return cached
            slot.tokens = tokens[:held]
            timings = await self._read_until(tokens[:until], slot)
            cached = timings["cache_n"] if cached is None else cached
            slot.tokens, held = tokens[:until], until
            if self._to_keep(name) and until == len(beginning):
                await self._keep(name, slot)

    async def _read_until(self, tokens: Tokens, slot: Slot) -> Mapping[str, Any]:
        body = {"prompt": tokens, "id_slot": slot.id, "cache_prompt": True, "n_predict": 0}
        body |= {"response_fields": ["timings"]}
        timings: Mapping[str, Any] = (await self._post("/completion", body))["timings"]
        self._pace.add(timings["prompt_n"], timings["prompt_ms"] / 1000)
        self._look()
        return timings

    async def _written(self, tokens: Tokens, slot: Slot, parameters: Mapping[str, Any]) -> AsyncGenerator[Piece, None]:
        body = {"prompt": tokens, "id_slot": slot.id, "stream": True, "cache_prompt": True, **parameters}
        try:
            async with self._client.stream("POST", "/completion", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refusal(await answer.aread())
                held = list(tokens)
                async with aclosing(_pieces(answer, held)) as pieces:
                    async for piece in pieces:
                        slot.tokens = held
                        yield piece
                        self._look()
        except httpx.HTTPError as error:
            raise LocalModelFailed("the local model broke off the answer; restart the workspace") from error

    def _look(self) -> None:
        if self._cores is not None:
            self._cores.look()

    def _to_keep(self, name: str) -> bool:
        return self._kept is not None and name != "" and self._kept.takes(name)

    async def _restored(self, name: str, slot: Slot) -> bool:
        if self._kept is None or not self._kept.has(name):
            return False
        try:
            await self._post(f"/slots/{slot.id}?action=restore", {"filename": name})
        except LocalModelFailed:
            # A damaged file, or one that a full disk cut off. The beginning is read instead.
            self._kept.remove(name)
            slot.tokens = []
            return False
        self._kept.used(name)
        return True

    async def _keep(self, name: str, slot: Slot) -> None:
        if self._kept is None:
            return
        try:
            await self._post(f"/slots/{slot.id}?action=save", {"filename": name})
        except LocalModelFailed:
            # A full disk must not fail an answer.
            self._kept.remove(name)
        self._kept.added(name)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer = await self._client.post(path, json=body)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise LocalModelFailed(f"the local model does not answer on {path}; restart the workspace") from error
        return answer.json()

    async def aclose(self) -> None:
        """Stop llama.cpp and free the memory of the model."""
        await self._client.aclose()
        # Dropping the last reference ends the server and joins its threads. That blocks, so it runs in a thread.
        held, self._server = [self._server], None
        await asyncio.to_thread(held.clear)


def _start_server(path: Path, options: EngineOptions, key: str) -> Any:
    if not path.is_file():
        raise LocalModelFailed(f"there is no model file {path}: set GRAPH_AGENT_LOCAL_MODEL to a GGUF file")
    # llama.cpp's threads wait for each other hundreds of times per token, and by default they spin while they wait. On
    # a busy machine they then take the cores from the threads that they wait for, and decoding is ten times slower.
    # OpenMP reads the variable when it is loaded, so it must be set before the import below.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        # Late import, because llama.cpp need not be installed for an upstream model.
        import xllamacpp
    except ImportError as error:
        raise LocalModelFailed(f"xllamacpp is not installed: {INSTALL}") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = options.window * options.slots, options.slots
    # A prompt is sent in pieces, so this is only the most that a piece may have, beside the tokens of other requests.
    params.n_batch = params.n_ubatch = LARGEST * options.at_once
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    # Its cache of prompts that lost their slot compares whole prompts, and here they come in pieces.
    params.cache_ram_mib = 0
    if options.states is not None:
        params.slot_save_path = f"{options.states}{os.sep}"
    # Answers repeat what passages say. So the tokens that followed the last three before are proposed, and the model
    # checks five at once for less than it costs to write two. It keeps only what it would have chosen itself.
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = 3, 5
    # The key keeps other users of the machine out. `use_jinja` applies the chat template inside the GGUF file.
    params.api_keys, params.ui, params.use_jinja, params.verbosity = [key], False, True, -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise LocalModelFailed(f"llama.cpp cannot load {path}: use a GGUF chat model that fits into memory") from error


def _decode_once(address: str, key: str) -> None:
    try:
        httpx.post(
            f"{address}/completion",
            json={"prompt": [0], "n_predict": 1},
            headers={"authorization": f"Bearer {key}"},
            timeout=None,
            trust_env=False,
        ).raise_for_status()
    except httpx.HTTPError as error:
        raise LocalModelFailed("the local model does not answer on /completion; restart the workspace") from error


async def _pieces(answer: httpx.Response, tokens: Tokens) -> AsyncGenerator[Piece, None]:
    """The pieces of an answer. Adds their tokens to those that the slot holds."""
    async for line in read_lines_async(answer.aiter_bytes()):
        # llama.cpp reports an error in the middle of a stream as a line of this field, which is not standard.
        if line.startswith("error:"):
            raise LocalModelFailed("the local model failed while answering")
        data = data_of_line(line)
        if not data:
            continue
        event = json.loads(data)
        if "error" in event:
            raise _refusal(json.dumps(event).encode())
        tokens += event.get("tokens") or ()
        if event["stop"]:
            yield _last_piece(event)
            return
        yield Piece(text=event["content"], probabilities=event.get("completion_probabilities") or ())
    raise LocalModelFailed("the local model broke off the answer; restart the workspace")


def _last_piece(event: Mapping[str, Any]) -> Piece:
    return Piece(
        text=event["content"],
        probabilities=event.get("completion_probabilities") or (),
        stopped="length" if event["stop_type"] == "limit" else "end",
        prompt_tokens=event["tokens_evaluated"],
        cached_tokens=event["timings"]["cache_n"],
        output_tokens=event["tokens_predicted"],
    )


def _too_long() -> PromptTooLong:
    return PromptTooLong("the prompt does not fit the local model's window: send a shorter conversation")


def _kept_beginnings(path: Path, options: EngineOptions) -> KeptBeginnings | None:
    if options.states is None:
        return None
    try:
        return KeptBeginnings(options.states, path, version=version("xllamacpp"))
    except OSError:
        # A folder that cannot be written costs the next start some seconds, and nothing else.
        return None


# Only the type of the error is used. Messages of foreign code are never passed on.
def _refusal(body: bytes) -> LocalModelFailed | PromptTooLong:
    try:
        kind = json.loads(body)["error"]["type"]
    except (ValueError, KeyError, TypeError):
        kind = ""
    if kind == "exceed_context_size_error":
        return _too_long()
    return LocalModelFailed("the local model refused the request")
