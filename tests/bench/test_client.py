from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from bench.client import TOKENS, StreamBroken, Target, at_once, singly

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def _answer(tokens: int) -> bytes:
    frames = [b'data: {"delta":"word"}\n\n'] * tokens
    return HEAD + b"".join(map(_chunk, [b"data: {}\n\n", *frames, b"data: [DONE]\n\n"])) + b"0\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def _server(pieces: Sequence[bytes]) -> AsyncIterator[Target]:
    """Answers each request on a connection with the same pieces, each sent by itself."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            # The client's requests are small and come one at a time: each arrives in one piece.
            async for _ in stream:
                for piece in pieces:
                    await stream.send(piece)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(SocketAttribute.local_port)
        yield Target(port=port, path="/stream", token=b'{"delta":')
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_frames_and_tokens_are_counted_wherever_the_stream_is_cut(size: int) -> None:
    answer = _answer(TOKENS)
    with anyio.fail_after(20):
        async with _server([answer[start : start + size] for start in range(0, len(answer), size)]) as target:
            first, second = await singly(target, streams=2)
    assert (first.frames, first.tokens) == (second.frames, second.tokens) == (TOKENS + 2, TOKENS)
    assert 0 < first.first_frame <= first.first_token


async def test_a_stream_that_lacks_a_token_is_no_measurement() -> None:
    with anyio.fail_after(20):
        async with _server([_answer(TOKENS - 1)]) as target:
            with pytest.raises(StreamBroken, match="a stream had 199 tokens, not 200"):
                await singly(target, streams=1)


async def test_an_answer_that_is_no_stream_is_told() -> None:
    with anyio.fail_after(20):
        async with _server([b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"]) as target:
            with pytest.raises(StreamBroken, match="429 Too Many Requests"):
                await at_once(target, streams=2, seconds=0)


async def test_each_connection_has_its_least_number_of_streams() -> None:
    with anyio.fail_after(20):
        async with _server([_answer(TOKENS)]) as target:
            load = await at_once(target, streams=4, seconds=0, least=3)
    assert (load.streams, load.tokens, load.frames) == (12, 12 * TOKENS, 12 * (TOKENS + 2))
