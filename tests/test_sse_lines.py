"""Server-sent events end lines at CR, LF and CRLF alone; everything of ours that reads them goes through one reader."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from graph_agent.commands.cli import main
from graph_agent.deploying.smoke_test import run_smoke_test
from graph_agent.local.model.upstream import UpstreamModel
from graph_agent.sse_lines import LineReader, data_of_line, read_lines, read_lines_async
from graph_agent.testing import on_loopback

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""What `str.splitlines` takes for a line's end and the format does not."""

ENDS = st.sampled_from(["\n", "\r", "\r\n"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n") | st.sampled_from(list(SEPARATORS)))


def cut(whole: bytes, places: list[int]) -> Iterator[bytes]:
    """The bytes in pieces, cut anywhere."""
    bounds = [0, *sorted(place % (len(whole) + 1) for place in places), len(whole)]
    return (whole[start:end] for start, end in itertools.pairwise(bounds))


@given(st.lists(st.tuples(TEXTS, ENDS)), st.lists(st.integers(0)))
def test_lines_come_out_as_they_went_in_however_the_bytes_are_cut(
    lines: list[tuple[str, str]], places: list[int]
) -> None:
    # An empty line behind a CR would be the LF of a CRLF.
    lines = [(text, "\r\n" if end == "\r" else end) for text, end in lines]
    whole = "".join(text + end for text, end in lines).encode()

    assert list(read_lines(cut(whole, places))) == [
        text.removeprefix("\ufeff") if number == 0 else text for number, (text, _) in enumerate(lines)
    ]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\rb\n", b"c\r\nd"], ["a", "b", "c"]),
        ([b"a\r", b"\nb\r", b"c\n"], ["a", "b", "c"]),
        ([b"a\r", b"", b"\nb\n"], ["a", "b"]),
        ([b"\r", b"\r", b"\n", b"\n"], ["", "", ""]),
        ([b"\n\n\r\r\n"], ["", "", "", ""]),
        ([b"\xef\xbb\xbfdata: 1\n", b"\xef\xbb\xbfx\n"], ["data: 1", "\ufeffx"]),
        ([b"\xe2\x80", b"\xa8\n"], ["\u2028"]),
        ([b"bad \xff byte\n"], ["bad \ufffd byte"]),
        ([], []),
        ([b"no end"], []),
    ],
)
def test_every_end_of_a_line(pieces: list[bytes], lines: list[str]) -> None:
    assert list(read_lines(pieces)) == lines

    async def coming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def read() -> list[str]:
        return [line async for line in read_lines_async(coming())]

    assert asyncio.run(read()) == lines


def test_a_long_line_in_small_pieces_is_put_together_once() -> None:
    reader = LineReader()
    for _ in range(20_000):
        assert reader.feed(b"x" * 50) == []
    assert reader.feed(b"\n") == ["x" * 1_000_000]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("data: x", "x"),
        ("data:x", "x"),
        ("data:  x", " x"),
        ("data:", ""),
        ("data", ""),
        (": data: x", None),
        ("datum: x", None),
        ("event: data", None),
        (" data: x", None),
        ("", None),
    ],
)
def test_what_a_line_holds(line: str, data: str | None) -> None:
    assert data_of_line(line) == data


# -- what reads them --------------------------------------------------------------------------------------------

SAID = f"one{SEPARATORS}two 😀"
WAYS = ["\n", "\r", "\r\n"]


def events() -> list[dict[str, Any]]:
    item = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]}
    return [
        {"type": "response.output_text.delta", "item_id": "m", "delta": SAID},
        {"type": "response.output_item.done", "item": item},
        {"type": "response.completed", "response": {"usage": None}},
    ]


def app(frames: list[dict[str, Any]], end: str) -> Starlette:
    """Streams these, unescaped, with that end of a line, a byte at a time."""
    body = (
        "".join(f"data: {json.dumps(one, ensure_ascii=False)}{end}{end}" for one in frames) + f"data: [DONE]{end}{end}"
    )

    async def stream(request: Request) -> Response:
        whole = body.encode()
        pieces = (whole[place : place + 7] for place in range(0, len(whole), 7))
        return StreamingResponse(pieces, media_type="text/event-stream")

    async def info(request: Request) -> Response:
        return JSONResponse({"graphs": []})

    return Starlette(routes=[Route("/agent/info", info), Route("/{path:path}", stream, methods=["POST"])])


@pytest.mark.parametrize("end", WAYS)
def test_ask_reads_every_character_of_an_answer(end: str, capsys: pytest.CaptureFixture[str]) -> None:
    with on_loopback(app(events(), end)) as url:
        assert main(["ask", "--url", url, "What?"]) == 0
    # What would move a terminal's cursor is shown by its number.
    shown = SAID.replace(SEPARATORS, SEPARATORS.encode("unicode_escape").decode())
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("end", WAYS)
def test_the_smoke_test_reads_every_character_of_an_answer(end: str) -> None:
    with on_loopback(app(events(), end)) as url:
        assert run_smoke_test(url, {}, startup_wait_seconds=5, answer_seconds=5).all > 0


@pytest.mark.parametrize("end", WAYS)
def test_the_upstream_model_reads_every_character_of_an_answer(end: str) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": SAID}}]}

    async def asked(url: str) -> list[dict[str, Any]]:
        model = UpstreamModel(f"{url}/v1", model="m")
        try:
            return [one async for one in model.stream_chat({"messages": []})]
        finally:
            await model.aclose()

    with on_loopback(app([chunk], end)) as url:
        assert asyncio.run(asked(url)) == [chunk]
