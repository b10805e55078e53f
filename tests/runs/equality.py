"""Taps random graphs twice in the same run: at LangGraph's own stream, and where its parts arise, as a run does.

The events must be the same. Without branches that run at the same time, that is the whole list. Otherwise each item
must have the same events, and begin and be written to the end behind the same updates of nodes that do not run at the
same time as its own: such branches may overtake each other by a turn of the event loop. So the text of one may close
that of another sooner, before it is known to be the answer.

`make equality` does it with 5,000 graphs, and names the seed of one that differs. To run that one again:
`python tests/runs/equality.py --first SEED --graphs 1`.
"""

import argparse
import asyncio
import random
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict
from unittest.mock import patch

import anyio
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages, push_message
from langgraph.prebuilt import ToolNode
from langgraph.pregel import main
from langgraph.pregel.protocol import StreamProtocol
from langgraph.types import Command, RetryPolicy, Send

from graph_agent.protocol.dialects import OPENAI, RESPONSES
from graph_agent.protocol.events import Event, ResponseHead, Usage
from graph_agent.protocol.translator import STREAM_MODES, Translator
from graph_agent.runs.part_source import PartSource
from graph_agent.runs.parts import Parts
from graph_agent.runs.stream import Part
from graph_agent.settings import Budgets

Path = tuple[str, ...]
"""Where a node is: `s0`, `s1` follow each other, and `p0`, `p1` run at the same time."""


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Model(BaseChatModel):
    """Says words, or asks for a tool. `turns` of the event loop pass before each word."""

    words: list[str]
    call: str | None = None
    turns: int = 0

    @property
    def _llm_type(self) -> str:
        return "random"

    def _chunks(self) -> Iterator[AIMessageChunk]:
        yield from (AIMessageChunk(content=word) for word in self.words)
        if self.call is not None:
            yield AIMessageChunk(
                "", tool_call_chunks=[tool_call_chunk(name="look", args='{"at": "it"}', id=self.call, index=0)]
            )

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        first, *rest = self._chunks()
        return ChatResult(generations=[ChatGeneration(message=sum(rest, start=first))])

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from (ChatGenerationChunk(message=one) for one in self._chunks())

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for one in self._chunks():
            for _ in range(self.turns):
                await asyncio.sleep(0)
            yield ChatGenerationChunk(message=one)


@dataclass
class Drawn:
    """A random graph and the places of its nodes."""

    dice: random.Random
    paths: dict[str, Path] = field(default_factory=dict)
    """Node -> where it is."""
    branches: bool = False
    """Whether some of it runs at the same time."""

    def name(self, path: Path) -> str:
        name = f"n{len(self.paths)}"
        self.paths[name] = path
        return name

    def model(self, name: str, **more: Any) -> Model:
        words = [f"{name}:{number} " for number in range(self.dice.randint(1, 4))]
        return Model(words=words, turns=self.dice.randint(0, 3), **more)

    def sequence(self, path: Path, depth: int) -> Any:
        """A graph of steps that follow each other."""
        builder = StateGraph(State)
        ends = [START]
        for number in range(self.dice.randint(1, 3)):
            ends = self._step(builder, ends, (*path, f"s{number}"), depth)
        for end in ends:
            builder.add_edge(end, END)
        return builder.compile()

    def _step(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        kinds = [
            self._says,
            self._says_in_a_thread,
            self._is_quiet,
            self._uses_a_tool,
            self._tries_again,
            self._hands_on,
        ]
        if depth:
            kinds += [self._is_a_graph, self._calls_a_graph, self._calls_tasks, self._fans_out, self._sends]
        return self.dice.choice(kinds)(builder, ends, path, depth)

    def _add(self, builder: Any, ends: Sequence[str], path: Path, make: Callable[[str], Any], **more: Any) -> list[str]:
        name = self.name(path)
        builder.add_node(name, make(name), **more)
        # Waits for all of them, since branches have different lengths.
        builder.add_edge(list(ends) if len(ends) > 1 else ends[0], name)
        return [name]

    def _says(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        hidden = self.dice.random() < 0.15

        def make(name: str) -> Any:
            model = self.model(name)

            async def says(state: State) -> Any:
                return {"messages": [await model.ainvoke("?", {"tags": ["nostream"]} if hidden else None)]}

            return says

        return self._add(builder, ends, path, make)

    def _says_in_a_thread(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        def make(name: str) -> Any:
            model = self.model(name)
            return lambda state: {"messages": [model.invoke("?")]}

        return self._add(builder, ends, path, make)

    def _is_quiet(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        returned = self.dice.choice(["nothing", "message", "pushed"])

        def make(name: str) -> Any:
            async def quiet(state: State) -> Any:
                if returned == "pushed":
                    push_message(AIMessage(f"{name}:pushed", id=f"{name}-pushed"))
                return {"messages": [AIMessage(f"{name}:whole")]} if returned == "message" else {}

            return quiet

        return self._add(builder, ends, path, make)

    def _uses_a_tool(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        speaks, threaded = self.dice.random() < 0.5, self.dice.random() < 0.3
        inside = self.model("inside")

        def make(name: str) -> Any:
            model = self.model(name, call=f"{name}-call")

            async def asks(state: State) -> Any:
                return {"messages": [await model.ainvoke("?")]}

            return asks

        @tool
        async def look(at: str) -> str:
            """Look."""
            return str((await inside.ainvoke("?")).content) if speaks else "seen"

        def look_here(at: str) -> str:
            """Look."""
            return str(inside.invoke("?").content) if speaks else "seen"

        asked = self._add(builder, ends, (*path, "s0"), make)
        used = tool("look")(look_here) if threaded else look
        return self._add(builder, asked, (*path, "s1"), lambda name: ToolNode([used], name=name))

    def _tries_again(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        def make(name: str) -> Any:
            model, tried = self.model(name), []

            async def fails_once(state: State) -> Any:
                said = await model.ainvoke("?")
                tried.append(name)
                if len(tried) == 1:
                    raise ValueError
                return {"messages": [said]}

            return fails_once

        policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2, retry_on=ValueError)
        return self._add(builder, ends, path, make, retry_policy=policy)

    def _hands_on(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        there = self.name((*path, "s1"))

        def make(name: str) -> Any:
            model = self.model(name)

            async def hands_on(state: State) -> Command[Any]:
                return Command(update={"messages": [await model.ainvoke("?")]}, goto=there)

            return hands_on

        self._add(builder, ends, (*path, "s0"), make, destinations=(there,))
        builder.add_node(there, lambda state: {"messages": [AIMessage(f"{there}:whole")]})
        return [there]

    def _is_a_graph(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        return self._add(builder, ends, path, lambda name: self.sequence(path, depth - 1))

    def _calls_a_graph(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        def make(name: str) -> Any:
            inner, before, after = self.sequence((*path, "s1"), depth - 1), self.model(name), self.model(name)

            async def calls(state: State) -> Any:
                said = await before.ainvoke("?")
                below = await inner.ainvoke({"messages": [HumanMessage("?")]})
                return {"messages": [said, *below["messages"][1:], await after.ainvoke("?")]}

            return calls

        return self._add(builder, ends, path, make)

    def _calls_tasks(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        together = self.dice.random() < 0.5
        self.branches = self.branches or together

        def make(name: str) -> Any:
            spoken = [self.name((*path, f"{'p' if together else 's'}{number}")) for number in range(2)]
            models = {one: self.model(one) for one in spoken}
            last = self.model(name)

            @task
            async def speak(one: str) -> Any:
                return await models[one].ainvoke("?")

            @entrypoint()
            async def program(given: Any) -> Any:
                if together:
                    said = await asyncio.gather(*[speak(one) for one in spoken])
                else:
                    said = [await speak(one) for one in spoken]
                return {"messages": [*said, await last.ainvoke("?")]}

            async def runs_program(state: State) -> Any:
                return {"messages": (await program.ainvoke({}))["messages"]}

            return runs_program

        return self._add(builder, ends, path, make)

    def _fans_out(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        self.branches = True
        lanes = range(self.dice.randint(2, 3))
        return [end for lane in lanes for end in self._step(builder, ends, (*path, f"p{lane}"), depth - 1)]

    def _sends(self, builder: Any, ends: Sequence[str], path: Path, depth: int) -> list[str]:
        self.branches = True
        count = self.dice.randint(2, 3)
        worker = self.name((*path, "p0"))
        lanes = [worker, *(self.name((*path, f"p{number}")) for number in range(1, count))]
        models = {one: self.model(one) for one in lanes}

        async def works(state: Any) -> Any:
            return {"messages": [await models[state["lane"]].ainvoke("?")]}

        begun = self._add(builder, ends, path, lambda name: lambda state: {})
        builder.add_node(worker, works)
        builder.add_conditional_edges(begun[0], lambda state: [Send(worker, {"lane": one}) for one in lanes], [worker])
        return [worker]


@dataclass
class Told:
    """What one translator has told, with the updates that came before each event."""

    translator: Translator
    hears: Callable[[Any], bool]
    quick: bool = False
    """Whether tokens are first told as a run tells most of them."""
    updates: list[str] = field(default_factory=list)
    events: list[tuple[Event, int]] = field(default_factory=list)

    def feed(self, part: Part) -> None:
        ns, kind, data = part
        if ns and kind != "messages" and not self.hears(ns):
            return
        deltas = self.translator.next_delta(*data) if self.quick and kind == "messages" else None
        self.take(self.translator.feed({"type": kind, "ns": ns, "data": data}) if deltas is None else iter(deltas))
        if kind == "updates":
            self.updates += data

    def take(self, events: Iterator[Event]) -> None:
        # A copy: the translator goes on to write into some.
        self.events += [(_plain(event), len(self.updates)) for event in events]

    def items(self) -> dict[int, list[tuple[Event, int]]]:
        """Index -> the events of that item."""
        found: dict[int, list[tuple[Event, int]]] = {}
        for event, at in self.events:
            if "output_index" in event:
                found.setdefault(event["output_index"], []).append((event, at))
        return found


NAMES = ("id", "item_id", "created_at", "sequence_number", "completed_at")


def _plain(value: Any) -> Any:
    """The value without what is chosen at random."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if key not in NAMES}
    if isinstance(value, str) and re.fullmatch("call_[0-9a-f]{24}", value):
        return "another id, since the graph uses it twice"
    return [_plain(one) for one in value] if isinstance(value, list) else value


class Both:
    """LangGraph's streams, of which the first two are tapped: that of the graph, and that of the graphs within it."""

    def __init__(self, put: Callable[[Part], None]) -> None:
        self._put, self._made = put, 0

    def __call__(self, stream: Callable[[Part], None], modes: Any) -> StreamProtocol:
        self._made += 1
        if self._made > 2:
            return StreamProtocol(stream, modes)

        def both(part: Part) -> None:
            self._put(part)
            stream(part)

        return StreamProtocol(both, modes)


async def tapped(seed: int) -> tuple[Drawn, Told, Told]:
    """Run the graph of that seed. Returns what is told at LangGraph's stream, and what where its parts arise."""
    dice = random.Random(seed)
    drawn = Drawn(dice)
    graph = drawn.sequence((), depth=dice.randint(0, 2))
    source = PartSource(Budgets(seconds=60.0))
    given: list[BaseMessage] = [HumanMessage("?", id="given")]
    dialect = dice.choice([OPENAI, RESPONSES])

    def told(*, quick: bool) -> Told:
        head = ResponseHead(model="agent")
        translator = Translator(dialect=dialect, head=head, known=given, inputs_of=source.inputs_of)
        return Told(translator, source.hears, quick)

    queued, inline = told(quick=False), told(quick=True)
    waits = random.Random(seed)
    failures: list[BaseException] = []

    def at_once(part: Part) -> bool:
        # Some parts take long, and others wait behind them.
        if waits.random() < 0.1:
            return False
        inline.feed(part)
        return True

    async def slowly(part: Part) -> None:
        for _ in range(waits.randint(0, 5)):
            await asyncio.sleep(0)
        inline.feed(part)

    parts = Parts(at_once=at_once, slowly=slowly, failed=failures.append)
    source.stream = parts.put
    with patch.object(main, "StreamProtocol", Both(parts.put)):
        config: Any = {"callbacks": [source], "recursion_limit": 100}
        stream = graph.astream({"messages": given}, config, stream_mode=STREAM_MODES, subgraphs=True)
        async for part in stream:
            queued.feed(part)
    await parts.caught_up()
    assert not failures, failures
    for one in (queued, inline):
        one.take(one.translator.finish(Usage()))
    return drawn, queued, inline


def difference(drawn: Drawn, queued: Told, inline: Told) -> str | None:
    """How what was told differs, or `None`."""
    if not drawn.branches:
        return None if queued.events == inline.events else f"{queued.events}\n{inline.events}"
    left, right = (sorted(map(_whole, one.items().values())) for one in (queued, inline))
    if left != right:
        return f"{left}\n{right}"
    left, right = (_places(drawn, one) for one in (queued, inline))
    return None if left == right else f"{left}\n{right}"


def _whole(events: Sequence[tuple[Event, int]]) -> str:
    """The events of an item, without its place among others. Which other text closed it may say its phase first."""
    kept = [{key: one for key, one in event.items() if key != "output_index"} for event, _ in events]
    return repr([{**one, "item": {**one["item"], "phase": None}} if "item" in one else one for one in kept])


def _places(drawn: Drawn, told: Told) -> Counter[str]:
    """Behind which updates each item begins, and is written to the end. What closes it may be another branch's text."""
    found: Counter[str] = Counter()
    for events in told.items().values():
        whole = repr(events[-1][0]["item"])
        node = next((name for name in sorted(drawn.paths, key=len, reverse=True) if f"{name}:" in whole), None)
        if node is not None:
            written = [one for one in events if "delta" in one[0]]
            for _, at in (events[0], *written[-1:]):
                before = [one for one in told.updates[:at] if one in drawn.paths and _follow(drawn, node, one)]
                found[f"{node} {sorted(before)}"] += 1
    return found


def _follow(drawn: Drawn, one: str, other: str) -> bool:
    """Whether these nodes never run at the same time."""
    for a, b in zip(drawn.paths[one], drawn.paths[other], strict=False):
        if a != b:
            return a[0] == "s"
    return True


async def differing(seeds: Sequence[int]) -> str | None:
    """The first of these graphs that is told in another way."""
    for seed in seeds:
        drawn, queued, inline = await tapped(seed)
        assert queued.events, seed
        if (how := difference(drawn, queued, inline)) is not None:
            return f"seed {seed}:\n{how}"
    return None


def run() -> int:
    parser = argparse.ArgumentParser(description="Compare random graphs.")
    parser.add_argument("--graphs", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    how = anyio.run(differing, range(options.first, options.first + options.graphs))
    sys.stdout.write((how or f"{options.graphs} graphs, and no difference") + "\n")
    return int(how is not None)


if __name__ == "__main__":
    sys.exit(run())
