"""Runs llama.cpp inside this process: takes a prompt and streams pieces of text."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from graph_agent.errors import LocalModelFailed, PromptTooLong
from graph_agent.local.model.core_choice import CoreChoice, core_choice, threads_now
from graph_agent.sse_lines import data_of_line, read_lines_async

Stopped = Literal["end", "length"]
Turn = Mapping[str, str]
"""A chat turn for the model's own template: `role` and `content`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Options for starting llama.cpp."""

    window: int = 4096
    """Tokens of prompt and answer together, per request."""

    slots: int = 2
    """Requests that are decoded at the same time. Others wait."""

    threads: int = os.cpu_count() or 1
    """Threads for decoding. With more threads than cores it is many times slower."""

    batch: int = 32
    """Prompt tokens between two checks whether the client left. One batch takes less than half a second on one core."""

    cache_mb: int = 512
    """Memory for prompts that lost their slot, so that the prompt of a continued conversation is not read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of text. The last piece also has the reason for the stop and the token counts."""

    text: str
    stopped: Stopped | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Those of the prompt that llama.cpp still held and did not read again."""

    output_tokens: int = 0


class Engine:
    """A loaded model behind llama.cpp's HTTP server on loopback. Only this object knows the server's key."""

    def __init__(self, server: Any, *, key: str, window: int, cores: CoreChoice | None = None) -> None:
        self._server = server
        self._cores = cores
        self.window = window
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
        return cls(server, key=key, window=options.window, cores=core_choice(threads_now() - before))

    async def prompt_of(self, turns: Sequence[Turn]) -> str:
        """The turns in the model's chat template, up to where its answer begins."""
        return str((await self._post("/apply-template", {"messages": list(turns)}))["prompt"])

    async def count(self, text: str) -> int:
        """Number of tokens of a text."""
        return len((await self._post("/tokenize", {"content": text, "add_special": True}))["tokens"])

    async def generate(self, prompt: str, **parameters: Any) -> AsyncGenerator[Piece, None]:
        """Stream the continuation of `prompt`. Closing the iterator stops the work, also while the prompt is read.

        Raises:
            LocalModelFailed: llama.cpp refused the request or broke off.
            PromptTooLong: the prompt does not fit the window.
        """
        # Progress lines make the server write while it reads the prompt. Only a failed write tells it that we left.
        body = {"prompt": prompt, "stream": True, "cache_prompt": True, "return_progress": True, **parameters}
        try:
            async with self._client.stream("POST", "/completion", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refusal(await answer.aread())
                async with aclosing(_pieces(answer)) as pieces:
                    async for piece in pieces:
                        if piece is not None:
                            yield piece
                        if self._cores is not None:
                            self._cores.look()
        except httpx.HTTPError as error:
            raise LocalModelFailed("the local model broke off the answer; restart the workspace") from error

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
        raise LocalModelFailed("xllamacpp is not installed: pip install 'graph-agent[local]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = options.window * options.slots, options.slots
    params.n_batch = params.n_ubatch = options.batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = options.cache_mb
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


async def _pieces(answer: httpx.Response) -> AsyncGenerator[Piece | None, None]:
    """The pieces of an answer, and None whenever llama.cpp says how much of the prompt it has read."""
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
        if "prompt_progress" in event:
            yield None
            continue
        if event["stop"]:
            yield _last_piece(event)
            return
        yield Piece(text=event["content"])
    raise LocalModelFailed("the local model broke off the answer; restart the workspace")


def _last_piece(event: Mapping[str, Any]) -> Piece:
    return Piece(
        text=event["content"],
        stopped="length" if event["stop_type"] == "limit" else "end",
        prompt_tokens=event["tokens_evaluated"],
        cached_tokens=event["timings"]["cache_n"],
        output_tokens=event["tokens_predicted"],
    )


# Only the type of the error is used. Messages of foreign code are never passed on.
def _refusal(body: bytes) -> LocalModelFailed | PromptTooLong:
    try:
        kind = json.loads(body)["error"]["type"]
    except (ValueError, KeyError, TypeError):
        kind = ""
    if kind == "exceed_context_size_error":
        return PromptTooLong("the prompt does not fit the local model's window: send a shorter conversation")
    return LocalModelFailed("the local model refused the request")
