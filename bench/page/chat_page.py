"""The whole chat page in front of a real service: its first paint, a long answer, and many conversations."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from playwright.sync_api import BrowserType

from bench.page.browser import heap, marked, opened
from bench.page.rows import Opening, Row
from bench.page.trace import work
from graph_agent import Settings, create_app
from graph_agent.testing.loopback import on_loopback

CONVERSATIONS = 1_000

PATIENCE = 120
"""How long an answer may take beyond the time that it streams, in seconds."""


class TypingModel(BaseChatModel):
    """Writes a text in tokens of four characters, at a speed, and not faster than it is read."""

    text: str
    rate: float
    """Tokens a second."""

    @property
    def _llm_type(self) -> str:
        return "typing"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("the page streams")

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        began = time.monotonic()
        for at in range(0, len(self.text), 4):
            ahead = at / 4 / self.rate - (time.monotonic() - began)
            await asyncio.sleep(max(ahead, 0) if ahead > 0.01 else 0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=self.text[at : at + 4]))


@contextmanager
def service(text: str, rate: float) -> Iterator[str]:
    """Serve the page and a graph that writes `text`, with a store, and give the address."""
    model = TypingModel(text=text, rate=rate)

    async def answer(state: MessagesState) -> dict[str, Sequence[BaseMessage]]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_environment(
            tracing="off", store=f"sqlite:{Path(folder)}/store.db", default_graph="typing", max_output_tokens=len(text)
        )
        with on_loopback(create_app(settings, {"typing": graph})) as url:
            yield url


def measure(chromium: BrowserType, text: str, *, rate: float) -> Iterator[Row | Opening]:
    """Open the page, stream an answer into it at `rate` tokens a second, and open it again with many conversations."""
    with service(text, rate) as url:
        with opened(chromium) as (browser, page, errors):
            yield _opening(page, url, "the page, nothing in it")
            with marked(browser, page) as trace:
                page.get_by_label("Your message").fill("Write.")
                page.keyboard.press("Enter")
                page.get_by_role("button", name="Stop").wait_for()
                if not _ended(page, patience=PATIENCE + len(text) / 4 / rate):
                    errors.append("the answer did not end")
                page.wait_for_timeout(2_000)
            yield _row("the page, long answer", page, work(trace()), errors, length=len(text))
        with opened(chromium) as (browser, page, errors):
            _fill(url)
            page.goto(url)
            # Loaded again in the same process, as the marks are of one process.
            with marked(browser, page) as trace:
                yield _opening(page, url, f"the page, {CONVERSATIONS:,} conversations")
                page.wait_for_timeout(1_000)
                _scroll_list(page)
            yield _row(f"the page, {CONVERSATIONS:,} conversations", page, work(trace()), errors, length=0)


def _ended(page: Any, patience: float) -> bool:
    """Whether the answer ends within `patience` seconds.

    A locator by role computes the style of each element of the answer whenever it looks. That work would be counted.
    """
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if page.evaluate("document.querySelector('form button[type=submit]') !== null"):
            return True
        page.wait_for_timeout(250)
    return False


def _fill(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        for at in range(CONVERSATIONS):
            client.post("/v1/conversations", json={"title": f"Conversation {at} about the port"}).raise_for_status()


def _scroll_list(page: Any) -> None:
    """Scroll the list of conversations to its end, page by page, as far as it goes."""
    for _ in range(40):
        page.evaluate(
            """() => {
                const scrolls = (one) => one.scrollHeight > one.clientHeight + 4;
                const list = [...document.querySelectorAll("nav, nav *")].find(scrolls);
                list?.scrollTo(0, list.scrollHeight);
            }"""
        )
        page.wait_for_timeout(100)


def _opening(page: Any, url: str, name: str) -> Opening:
    page.goto(url)
    page.get_by_label("Your message").wait_for()
    ready = page.evaluate("performance.now()")
    paint = page.evaluate(
        "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint')?.startTime ?? null"
    )
    weight = page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".filter((one) => !one.name.includes('/v1/')).reduce((sum, one) => sum + one.transferSize, 0)"
    )
    return Opening(name=name, paint=paint, ready=ready, weight=weight / 1000)


def _row(name: str, page: Any, work: Any, errors: list[str], *, length: int) -> Row:
    return Row(
        name=name,
        streamed=True,
        length=length,
        work=work,
        heap=heap(page),
        elements=page.evaluate("document.getElementsByTagName('*').length"),
        errors=tuple(errors),
    )
