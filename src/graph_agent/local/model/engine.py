"""llama.cpp inside this process: a prompt in, pieces of text out."""

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
from graph_agent.sse_lines import data_of_line, read_lines_async

Stopped = Literal["end", "length"]
Turn = Mapping[str, str]
"""A chat turn for the model's own template: `role` and `content`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How llama.cpp is started."""

    window: int = 4096
    """Tokens of prompt and answer together, for each request."""

    slots: int = 2
    """Requests decoded at once; more wait."""

    threads: int = os.cpu_count() or 1
    """More threads than cores make it many times slower."""

    batch: int = 32
    """Prompt tokens between two looks at whether the client left: the work of less than half a second on one core."""

    cache_mb: int = 512
    """Memory for prompts that lost their slot, so that a conversation which returns is not read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Some text, and on the last piece why it stopped and what it cost."""

    text: str
    stopped: Stopped | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0


class Engine:
    """A loaded model behind llama.cpp's own endpoint on loopback, with a key that only this object knows."""

    def __init__(self, server: Any, *, key: str, window: int) -> None:
        self._server = server
        self.window = window
        # It closes a connection after a stream without saying so; a kept one would fail the next request.
        self._client = httpx.AsyncClient(
            base_url=server.listening_address,
            headers={"authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=5.0),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )

    @classmethod
    def open(cls, path: Path, options: EngineOptions) -> Self:
        """Load a GGUF file; blocks for seconds.

        Raises:
            LocalModelFailed: the file is missing, llama.cpp cannot load it, or `xllamacpp` is not installed.
        """
        key = secrets.token_urlsafe()
        return cls(_start_server(path, options, key), key=key, window=options.window)

    async def prompt_of(self, turns: Sequence[Turn]) -> str:
        """The turns in the model's own chat template, ending where its answer begins."""
        return str((await self._post("/apply-template", {"messages": list(turns)}))["prompt"])

    async def count(self, text: str) -> int:
        """Tokens of a text."""
        return len((await self._post("/tokenize", {"content": text, "add_special": True}))["tokens"])

    async def generate(self, prompt: str, **parameters: Any) -> AsyncGenerator[Piece, None]:
        """Stream the continuation of `prompt`; closing the iterator stops the decoding, also while the prompt is read.

        Raises:
            LocalModelFailed: it refused the request or broke off.
            PromptTooLong: the prompt does not fit the window.
        """
        # Progress lines make the server write during the prompt too: that is how it learns at once that we left.
        body = {"prompt": prompt, "stream": True, "cache_prompt": True, "return_progress": True, **parameters}
        try:
            async with self._client.stream("POST", "/completion", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise _refusal(await answer.aread())
                async with aclosing(_pieces(answer)) as pieces:
                    async for piece in pieces:
                        yield piece
        except httpx.HTTPError as error:
            raise LocalModelFailed("the local model broke off; start the workspace again") from error

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            answer = await self._client.post(path, json=body)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise LocalModelFailed(f"the local model does not answer on {path}; start the workspace again") from error
        return answer.json()

    async def aclose(self) -> None:
        """Stop llama.cpp and free the model's memory."""
        await self._client.aclose()
        # The server ends when its last reference goes, which joins its threads: not on the event loop.
        held, self._server = [self._server], None
        await asyncio.to_thread(held.clear)


def _start_server(path: Path, options: EngineOptions, key: str) -> Any:
    if not path.is_file():
        raise LocalModelFailed(f"there is no model file {path}: set GRAPH_AGENT_LOCAL_MODEL to a GGUF file")
    # llama.cpp's threads wait for each other hundreds of times per token. Spinning meanwhile, on a busy machine they
    # take from each other the cores that they wait for, and are ten times slower. OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        # Here, because the workspace also runs on an upstream model, where llama.cpp need not be installed.
        import xllamacpp
    except ImportError as error:
        raise LocalModelFailed("xllamacpp is not installed: pip install 'graph-agent[local]'") from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel = options.window * options.slots, options.slots
    params.n_batch = params.n_ubatch = options.batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_ram_mib = options.cache_mb
    params.api_keys, params.ui, params.use_jinja, params.verbosity = [key], False, True, -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise LocalModelFailed(
            f"llama.cpp cannot load {path}: is it a GGUF chat model that fits into memory?"
        ) from error


async def _pieces(answer: httpx.Response) -> AsyncGenerator[Piece, None]:
    async for line in read_lines_async(answer.aiter_bytes()):
        if line.startswith("error:"):
            raise LocalModelFailed("the local model failed while answering")
        data = data_of_line(line)
        if not data:
            continue
        event = json.loads(data)
        if "error" in event:
            raise _refusal(json.dumps(event).encode())
        if "prompt_progress" in event:
            continue
        if event["stop"]:
            yield _last_piece(event)
            return
        yield Piece(text=event["content"])
    raise LocalModelFailed("the local model broke off; start the workspace again")


def _last_piece(event: Mapping[str, Any]) -> Piece:
    return Piece(
        text=event["content"],
        stopped="length" if event["stop_type"] == "limit" else "end",
        prompt_tokens=event["tokens_evaluated"],
        output_tokens=event["tokens_predicted"],
    )


def _refusal(body: bytes) -> LocalModelFailed | PromptTooLong:
    try:
        kind = json.loads(body)["error"]["type"]
    except (ValueError, KeyError, TypeError):
        kind = ""
    if kind == "exceed_context_size_error":
        return PromptTooLong("the prompt does not fit the local model's window: send a shorter conversation")
    return LocalModelFailed("the local model refused the request")
