import re
import zipfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream
from bench.client import MESSAGE, NEW_ID, TOKENS, StreamBroken, Target, at_once, singly
from bench.environments import make
from bench.rows import ROWS

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
async def _server(pieces: Sequence[bytes], *, heads: list[bytes] | None = None) -> AsyncIterator[Target]:
    """Answers each request on a connection with the same pieces, each sent by itself. Requests are kept in `heads`."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            # The client's requests are small and come one at a time: each arrives in one piece.
            async for request in stream:
                if heads is not None:
                    heads.append(request)
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


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_frames_of_a_server_that_ends_lines_with_two_characters_are_counted_too(size: int) -> None:
    ending = b"\r\n\r\n"
    answer = _answer(TOKENS).replace(b"\n\n", ending)
    with anyio.fail_after(20):
        async with _server([answer[start : start + size] for start in range(0, len(answer), size)]) as target:
            first, second = await singly(replace(target, separator=ending), streams=2)
    assert (first.frames, first.tokens) == (second.frames, second.tokens) == (TOKENS + 2, TOKENS)


def test_a_row_whose_environment_is_not_there_says_how_to_make_it() -> None:
    row = replace(ROWS[0], environment=".venv-of-nobody", made_by="make it")
    assert row.prepare() == "there is no .venv-of-nobody; make it with `make it`"
    assert ROWS[0].prepare() is None


def test_a_server_whose_packages_cannot_be_installed_says_why(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("langgraph==1.0\n")
    # No registry is asked for a file.
    why = make(tmp_path / "environment", [f"nothing @ file://{tmp_path}/nothing.whl"], root=tmp_path)
    assert why is not None
    assert "it was not installed" in why
    assert not (tmp_path / "environment" / "made-of").exists()


def test_an_environment_is_made_once_and_again_when_its_packages_change(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("")
    folder = tmp_path / "environment"
    assert make(folder, [_wheel(tmp_path, "one")], root=tmp_path) is None
    (folder / "kept").touch()
    assert make(folder, [_wheel(tmp_path, "one")], root=tmp_path) is None
    assert (folder / "kept").exists()
    assert make(folder, [_wheel(tmp_path, "two")], root=tmp_path) is None
    assert not (folder / "kept").exists()
    assert [found.name for found in folder.glob("lib/*/site-packages/*.py")] == ["two.py"]


def _wheel(folder: Path, name: str) -> str:
    """A package of one module, in a file."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as written:
        written.writestr(f"{name}.py", "")
        written.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        written.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        written.writestr(f"{about}/RECORD", "")
    return f"{name} @ file://{wheel}"


async def test_each_request_may_have_an_id_of_its_own_in_its_path() -> None:
    heads: list[bytes] = []
    with anyio.fail_after(20):
        async with _server([_answer(TOKENS)], heads=heads) as target:
            await singly(replace(target, path=f"/threads/{NEW_ID}/runs"), streams=2)
    ids = [re.match(rb"POST /threads/([0-9a-f-]{36})/runs HTTP", head) for head in heads]
    assert len({found[1] for found in ids if found}) == 2


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


def _messages(tokens: int) -> bytes:
    told = [b"{}", *[b'{"delta":"word"}'] * tokens, b'{"type":"response.completed","text":"' + b"x" * 200 + b'"}']
    heads = [bytes((0x81, len(one))) if len(one) < 126 else b"\x81\x7e" + len(one).to_bytes(2) for one in told]
    return b"".join(head + one for head, one in zip(heads, told, strict=True))


@asynccontextmanager
async def _socket_server(content: bytes, *, size: int, status: bytes = b"101") -> AsyncIterator[Target]:
    """Answers a handshake, and each message with the same content, in pieces of a size."""

    async def answer(stream: SocketStream) -> None:
        async with stream:
            assert (await stream.receive()).endswith(b"\r\n\r\n")
            await stream.send(b"HTTP/1.1 " + status + b" Whatever\r\n\r\n")
            async for _ in stream:
                for start in range(0, len(content), size):
                    await stream.send(content[start : start + size])

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(SocketAttribute.local_port)
        yield Target(port=port, path="/v1/responses", token=b'{"delta":', body=MESSAGE, socket=True)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_messages_of_a_websocket_are_counted_wherever_they_are_cut(size: int) -> None:
    with anyio.fail_after(20):
        async with _socket_server(_messages(TOKENS), size=size) as target:
            first, second = await singly(target, streams=2)
    assert (first.frames, first.tokens) == (second.frames, second.tokens) == (TOKENS + 2, TOKENS)


async def test_a_websocket_that_is_refused_is_no_measurement() -> None:
    with anyio.fail_after(20):
        async with _socket_server(b"", size=1, status=b"404") as target:
            with pytest.raises(StreamBroken, match="404"):
                await singly(target, streams=1)
