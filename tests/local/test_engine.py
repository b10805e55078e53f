"""The engine against a server that speaks llama.cpp's protocol: a token is a word, and each slot holds what it read."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from graph_agent.errors import LocalModelFailed, PromptTooLong
from graph_agent.local.model.engine import Engine, EngineOptions, Piece
from graph_agent.local.model.kept_beginnings import KeptBeginnings
from graph_agent.local.model.prompt_slots import FIRST, LARGEST, SMALLEST, PromptSlots

pytestmark = pytest.mark.anyio

Serve = Callable[[ASGIApp], AbstractAsyncContextManager[str]]

RULES = " ".join(f"rule{number}" for number in range(300))


def shared(one: list[int], other: list[int]) -> int:
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return same


@dataclass
class Llama:
    """llama.cpp's routes. `saved` are its files, and `fails` the paths that it answers 500."""

    words: dict[str, int] = field(default_factory=dict)
    slots: dict[int, list[int]] = field(default_factory=dict)
    saved: dict[str, list[int]] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)
    read: list[tuple[int, int]] = field(default_factory=list)
    """The slot and the number of new tokens of each request."""

    milliseconds: float = 1.0
    """How long it says that it took to read a token."""

    folder: Path | None = None
    reading: anyio.Event = field(default_factory=anyio.Event)
    may_read: anyio.Event = field(default_factory=anyio.Event)
    left: anyio.Event = field(default_factory=anyio.Event)
    second_asked: anyio.Event = field(default_factory=anyio.Event)
    endless: bool = False

    def app(self) -> ASGIApp:
        return Starlette(
            routes=[
                Route("/tokenize", self.tokenize, methods=["POST"]),
                Route("/completion", self.complete, methods=["POST"]),
                Route("/slots/{slot:int}", self.state, methods=["POST"]),
            ]
        )

    async def tokenize(self, request: Request) -> Response:
        words = (await request.json())["content"].split()
        if "second" in words:
            self.second_asked.set()
        return JSONResponse({"tokens": [self.words.setdefault(word, len(self.words)) for word in words]})

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.reading.set()
        await self.may_read.wait()
        prompt, slot = body["prompt"], body["id_slot"]
        cached = shared(self.slots.get(slot, []), prompt)
        new = len(prompt) - cached
        self.slots[slot] = prompt
        self.read.append((slot, new))
        timings = {"cache_n": cached, "prompt_n": new, "prompt_ms": new * self.milliseconds}
        if not body.get("stream"):
            return JSONResponse({"timings": timings})
        last = {"content": "", "stop": True, "stop_type": "eos", "tokens_evaluated": len(prompt), "tokens_predicted": 1}
        return StreamingResponse(self._written(last | {"timings": timings}), media_type="text/event-stream")

    async def _written(self, last: dict[str, Any]) -> AsyncIterator[str]:
        try:
            while True:
                yield f"data: {json.dumps({'content': 'said ', 'stop': False, 'tokens': [-1]})}\n\n"
                if not self.endless:
                    break
                await anyio.lowlevel.checkpoint()
            yield f"data: {json.dumps(last)}\n\n"
        finally:
            self.left.set()

    async def state(self, request: Request) -> Response:
        name, slot = (await request.json())["filename"], request.path_params["slot"]
        action = request.query_params["action"]
        if action in self.fails:
            return JSONResponse({"error": {"message": "secret"}}, 500)
        if action == "save":
            assert self.folder is not None
            self.saved[name] = self.slots[slot]
            (self.folder / name).write_bytes(b"state")
        else:
            self.slots[slot] = self.saved[name]
        return JSONResponse({})


@asynccontextmanager
async def engine(llama: Llama, serve_here: Serve, folder: Path | None = None, **options: Any) -> AsyncIterator[Engine]:
    kept = None
    if folder is not None:
        model = folder / "model.gguf"
        if not model.exists():
            model.write_bytes(b"model")
        llama.folder = folder / "states"
        kept = KeptBeginnings(llama.folder, model, version="1")
    async with serve_here(llama.app()) as url:
        server = SimpleNamespace(listening_address=url)
        made = Engine(server, key="k", options=EngineOptions(**options), beginnings=kept)
        yield made
        await made.aclose()


def ready() -> Llama:
    llama = Llama()
    llama.may_read.set()
    return llama


async def last(made: Engine, prompt: str, beginning: str = "") -> Piece:
    return [piece async for piece in made.generate(prompt, beginning)][-1]


async def test_a_long_prompt_is_read_in_pieces_and_no_token_twice(serve_here: Serve) -> None:
    llama = ready()
    async with engine(llama, serve_here) as made:
        answered = await last(made, f"{RULES} what is x")
    pieces = [new for _, new in llama.read]
    assert (sum(pieces), max(pieces) <= LARGEST, len(pieces) > 1) == (303, True, True)
    assert (answered.prompt_tokens, answered.cached_tokens) == (303, 0)


async def test_a_slow_model_reads_small_pieces_and_a_fast_one_large_pieces(serve_here: Serve) -> None:
    sizes = []
    for milliseconds in (100.0, 0.1):
        llama = ready()
        llama.milliseconds = milliseconds
        async with engine(llama, serve_here) as made:
            await last(made, f"{RULES} what is x")
        sizes.append([new for _, new in llama.read][1:-1])
    assert (set(sizes[0]), sizes[1]) == ({SMALLEST}, [LARGEST])


async def test_a_continued_conversation_reads_only_what_is_new(serve_here: Serve) -> None:
    llama = ready()
    async with engine(llama, serve_here) as made:
        await last(made, f"{RULES} what is x")
        await last(made, "another prompt")
        answered = await last(made, f"{RULES} what is x said what is y")
    assert (answered.prompt_tokens, answered.cached_tokens, llama.read[-1][1]) == (307, 303, 4)


async def test_another_conversation_leaves_the_first_one_in_its_slot(serve_here: Serve, tmp_path: Path) -> None:
    llama = ready()
    story = " ".join(f"word{number}" for number in range(200))
    async with engine(llama, serve_here, tmp_path) as made:
        await last(made, f"{RULES} {story}", RULES)
        other = await last(made, f"{RULES} another", RULES)
        again = await last(made, f"{RULES} {story} more", RULES)
    assert (other.cached_tokens, again.cached_tokens) == (300, 500)


async def test_after_a_restart_the_beginning_is_not_read_again(serve_here: Serve, tmp_path: Path) -> None:
    llama = ready()
    async with engine(llama, serve_here, tmp_path) as made:
        await last(made, f"{RULES} what is x", f"{RULES} other")
    llama.slots, llama.read = {}, []
    async with engine(llama, serve_here, tmp_path) as made:
        answered = await last(made, f"{RULES} how are you", f"{RULES} other")
    assert (answered.cached_tokens, llama.read[-1][1]) == (300, 3)
    assert (tmp_path / "states").stat().st_mode & 0o077 == 0


async def test_the_state_of_another_model_is_not_used(serve_here: Serve, tmp_path: Path) -> None:
    llama = ready()
    async with engine(llama, serve_here, tmp_path) as made:
        await last(made, f"{RULES} what is x", RULES)
    llama.slots = {}
    (tmp_path / "model.gguf").write_bytes(b"another model")
    async with engine(llama, serve_here, tmp_path) as made:
        assert (await last(made, f"{RULES} how are you", RULES)).cached_tokens == 0


async def test_a_state_that_cannot_be_read_is_removed_and_the_beginning_is_read(
    serve_here: Serve, tmp_path: Path
) -> None:
    llama = ready()
    async with engine(llama, serve_here, tmp_path) as made:
        await last(made, f"{RULES} what is x", RULES)
    llama.slots, llama.fails = {}, {"restore", "save"}
    async with engine(llama, serve_here, tmp_path) as made:
        answered = await last(made, f"{RULES} how are you", RULES)
    assert (answered.cached_tokens, answered.prompt_tokens) == (0, 303)
    assert list((tmp_path / "states").iterdir()) == []


async def test_a_process_keeps_few_states_and_removes_those_that_were_not_used_for_longest(
    serve_here: Serve, tmp_path: Path
) -> None:
    llama = ready()
    for process in range(2):
        async with engine(llama, serve_here, tmp_path) as made:
            for number in range(6):
                await last(made, f"app{process}{number} {RULES} what is x", f"app{process}{number} {RULES}")
    kept = {path.name for path in (tmp_path / "states").iterdir()}
    assert kept == set(list(llama.saved)[4:])
    assert len(llama.saved) == 8


async def test_a_prompt_longer_than_the_window_is_refused_before_it_is_read(serve_here: Serve) -> None:
    llama = ready()
    async with engine(llama, serve_here, window=200) as made:
        with pytest.raises(PromptTooLong):
            await last(made, RULES)
    assert llama.read == []


async def test_a_failure_in_the_middle_of_a_prompt_is_told_without_its_words(serve_here: Serve) -> None:
    llama = ready()
    async with engine(llama, serve_here) as made:
        llama.read = None  # type: ignore[assignment]
        with pytest.raises(LocalModelFailed, match="does not answer on /completion"):
            await last(made, f"{RULES} what is x")


async def test_who_leaves_while_the_prompt_is_read_has_no_more_of_it_read(serve_here: Serve) -> None:
    llama = Llama()
    async with engine(llama, serve_here, at_once=1) as made:
        async with anyio.create_task_group() as group:
            group.start_soon(last, made, f"{RULES} what is x")
            await llama.reading.wait()
            group.cancel_scope.cancel()
        llama.may_read.set()
        await last(made, "hello")
    assert sorted(new for _, new in llama.read) == [1, FIRST]


async def test_who_leaves_the_line_lets_the_next_one_in() -> None:
    slots, order = PromptSlots(slots=2, at_once=1), []

    async def wait_for_turn(name: str, *, until: anyio.Event) -> None:
        async with slots.slot_for([1, 2]):
            order.append(name)
            await until.wait()

    first_done, done = anyio.Event(), anyio.Event()
    done.set()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: wait_for_turn("first", until=first_done))
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(lambda: wait_for_turn("second", until=done))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(lambda: wait_for_turn("third", until=done))
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        assert order == ["first"]
        first_done.set()
    assert (order, slots.active) == (["first", "third"], 0)


async def test_who_leaves_while_waiting_in_line_is_never_read(serve_here: Serve) -> None:
    llama = Llama()
    async with engine(llama, serve_here, at_once=1) as made, anyio.create_task_group() as group:
        group.start_soon(last, made, "first")
        await llama.reading.wait()
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(last, made, "second in line")
            await llama.second_asked.wait()
            leaving.cancel_scope.cancel()
        llama.may_read.set()
    assert [new for _, new in llama.read] == [1]


async def test_who_leaves_while_it_writes_ends_the_writing(serve_here: Serve) -> None:
    llama = ready()
    llama.endless = True
    async with engine(llama, serve_here) as made:
        async with aclosing(made.generate("hello")) as pieces:
            await anext(pieces)
        with anyio.fail_after(30):
            await llama.left.wait()
