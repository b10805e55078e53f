"""The loop of graphs: who wakes it up."""

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from graph_agent.testing import ScriptedChatModel
from graph_agent.threads import GraphLoop


class CountedLoop(GraphLoop):
    """Counts how often it is woken up, which takes a write to a socket."""

    wakes = 0

    def _write_to_self(self) -> None:
        self.wakes += 1
        super()._write_to_self()


def wakes_of(words: int) -> tuple[int, int]:
    """The tokens of an answer of so many words, and how often they woke the loop."""
    model = ScriptedChatModel(["word "] * words)

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node(answer)
    builder.add_edge(START, "answer")
    graph: Any = builder.compile()

    async def tokens() -> int:
        parts = graph.astream({"messages": "Hello"}, stream_mode="messages")
        return len([part async for part in parts if part[0].content.strip()])

    loop = CountedLoop()
    try:
        return loop.run_until_complete(tokens()), loop.wakes
    finally:
        loop.close()


def test_tokens_do_not_wake_the_loop_on_which_their_graph_runs() -> None:
    assert [wakes_of(words) for words in (1, 500)] == [(1, 0), (500, 0)]


def waits_for(call: Callable[[GraphLoop, Callable[[], None]], None]) -> float:
    """How long a loop that waits for nothing else took to be woken up by `call`, in seconds."""
    loop = GraphLoop()

    async def wait() -> None:
        woken = loop.create_future()
        call(loop, lambda: woken.set_result(None))
        async with asyncio.timeout(30):
            await woken

    began = time.monotonic()
    try:
        loop.run_until_complete(wait())
    finally:
        loop.close()
    return time.monotonic() - began


def test_a_thread_wakes_a_waiting_loop() -> None:
    def in_a_thread(loop: GraphLoop, then: Callable[[], None]) -> None:
        threading.Timer(0.05, lambda: loop.call_soon_threadsafe(then)).start()

    assert waits_for(in_a_thread) < 20


def test_a_handler_of_a_signal_wakes_the_waiting_loop_that_it_interrupts() -> None:
    before = signal.getsignal(signal.SIGALRM)

    def by_a_signal(loop: GraphLoop, then: Callable[[], None]) -> None:
        signal.signal(signal.SIGALRM, lambda number, frame: loop.call_soon_threadsafe(then))
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    try:
        assert waits_for(by_a_signal) < 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
