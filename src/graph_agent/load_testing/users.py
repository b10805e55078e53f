"""Asks a service as many users at a time would: each waits for its answer, thinks, and asks again."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import httpx

from graph_agent.errors import AgentError
from graph_agent.load_testing.addresses import Address
from graph_agent.load_testing.answer_reader import AnswerReader, code_of
from graph_agent.load_testing.errors import LoadRefused
from graph_agent.load_testing.figures import Figures, Result, Slice, Timeline
from graph_agent.load_testing.plan import Plan
from graph_agent.load_testing.questions import Question
from graph_agent.printable import printable
from graph_agent.sse_events import EventTooLarge

CONNECT_SECONDS = 10.0
MOST_ERROR_BYTES = 65_536
"""Bytes of the body of an error that are searched for its code."""

PAUSE_AFTER_ERROR = 1.0
"""The shortest pause after an error, in seconds. Otherwise users without time to think would ask without an end."""

LONGEST_RETRY_AFTER = 60.0
RENEW_SECONDS = 300.0
"""How long the headers that sign in are used."""

RAMP = 0.1
"""The share of a step in which its new users begin, one after another."""

DELAY_EVERY = 0.1
"""Seconds between two looks at how late this process is."""


class Watcher(Protocol):
    """Sees the test while it runs."""

    def step(self, number: int, figures: Figures) -> None:
        """A step has begun. `figures` changes while it runs."""

    def second(self) -> None:
        """Another second has passed."""


class LoadTest:
    """One load test. `run` may be called once."""

    def __init__(
        self,
        plan: Plan,
        address: Address,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._address = address
        self._clock = clock
        self._transport = transport
        self._result = Result()
        self._figures = Figures()
        self._began = 0.0
        self._wanted = 0
        self._users: dict[int, asyncio.Task[None]] = {}
        self._over = asyncio.Event()
        self._asked = 0
        self._answering: str | None = None
        self._headers: Mapping[str, str] = {}
        self._signing_in = asyncio.Lock()
        self._signed_in_at = float("-inf")

    async def run(self, watcher: Watcher) -> Result:
        """Ask one question, then run every step. A cancellation, such as Ctrl-C, ends the test with what there is.

        Raises:
            LoadRefused: the first question gets no whole answer. No load was sent.
        """
        async with self._client() as client:
            await self._try(client)
            self._began, self._result.timeline = self._clock(), Timeline()
            watching = [asyncio.create_task(self._watch(watcher)), asyncio.create_task(self._note_delay())]
            try:
                for number, users in enumerate(self._plan.users):
                    await self._step(client, number, users, watcher)
                self._end_step()
                self._over.set()
                if self._users:
                    await asyncio.wait(self._users.values(), timeout=self._plan.leaving)
            except asyncio.CancelledError:
                self._result.stopped = True
                if task := asyncio.current_task():
                    task.uncancel()
            finally:
                self._over.set()
                self._end_step()
                ending = [*watching, *self._users.values()]
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)
        return self._result

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self._transport,
            # The limits of a usual client would be part of the measured time.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=httpx.Timeout(self._plan.timeout, connect=CONNECT_SECONDS),
            # A proxy of the environment is for other hosts.
            trust_env=not self._address.is_here,
        )

    async def _try(self, client: httpx.AsyncClient) -> None:
        """Ask one question before the load, which counts nowhere: a wrong token would fail thousands of requests."""
        figures, self._began = Figures(), self._clock()
        # First alone, because its own message says what to do.
        await self._signed_in()
        await self._ask(client, figures)
        for kind in figures.errors:
            raise LoadRefused(f"no load was sent: the first question to {self._address.shown} failed: {kind}")
        if not figures.first_text.count:
            raise LoadRefused(
                f"no load was sent: the answer of {self._address.shown} had no text; give the address of a graph that "
                "streams text"
            )
        asked = self._address.graph
        # A service may answer an unknown name with its default graph. OpenAI adds a date to the name of a model.
        if asked is not None and self._answering is not None and not self._answering.startswith(asked):
            raise LoadRefused(
                f"no load was sent: the service at {self._address.shown} has no graph named {asked!r}; it would "
                f"answer with {printable(self._answering)!r}"
            )

    async def _step(self, client: httpx.AsyncClient, number: int, users: int, watcher: Watcher) -> None:
        self._end_step()
        self._wanted = users
        self._figures = Figures(users=users)
        self._result.steps.append(self._figures)
        self._step_began = self._clock()
        watcher.step(number, self._figures)
        new = [one for one in range(users) if one not in self._users]
        pause = self._plan.seconds * RAMP / len(new) if new else 0.0
        for one in new:
            self._users[one] = asyncio.create_task(self._user(client, one))
            await asyncio.sleep(pause)
        await asyncio.sleep(max(0.0, self._step_began + self._plan.seconds - self._clock()))

    def _end_step(self) -> None:
        if self._result.steps and not self._figures.seconds:
            self._figures.seconds = self._clock() - self._step_began

    async def _user(self, client: httpx.AsyncClient, number: int) -> None:
        try:
            while number < self._wanted and not self._over.is_set():
                pause = await self._ask(client, self._figures)
                thinking = self._plan.think * random.uniform(0.5, 1.5)
                await self._rest(max(pause, thinking))
        finally:
            self._users.pop(number, None)

    async def _rest(self, seconds: float) -> None:
        """Wait, but not beyond the end of the test."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return

    async def _ask(self, client: httpx.AsyncClient, figures: Figures) -> float:
        """Ask one question and count what comes of it. Returns the seconds that the user waits at least."""
        figures.asked += 1
        try:
            async with asyncio.timeout(self._plan.timeout):
                kind, pause = await self._answer(client, figures)
        except asyncio.CancelledError:
            figures.unfinished += 1
            raise
        except TimeoutError:
            kind, pause = f"no whole answer in {self._plan.timeout:g} s", 0.0
        except EventTooLarge:
            kind, pause = "an event is larger than 8 MB", 0.0
        except AgentError:
            kind, pause = "the token could not be renewed", 0.0
        except httpx.ConnectError:
            kind, pause = "no connection", 0.0
        except httpx.ConnectTimeout:
            kind, pause = f"no connection in {CONNECT_SECONDS:g} s", 0.0
        except httpx.HTTPError as error:
            kind, pause = f"the connection broke: {type(error).__name__}", 0.0
        if kind is None:
            return 0.0
        figures.fail(kind)
        self._now().failed += 1
        return max(pause, PAUSE_AFTER_ERROR)

    async def _answer(self, client: httpx.AsyncClient, figures: Figures) -> tuple[str | None, float]:
        """What was wrong with the answer, and how long the service asks to wait."""
        headers = await self._signed_in()
        # Here and not before: renewing a token is not the service's time.
        began = self._clock()
        async with client.stream(
            "POST", self._address.url, content=self._address.body(self._question()), headers=headers
        ) as response:
            if response.is_redirect:
                return f"HTTP {response.status_code}: a page to sign in, so the token was not accepted", 0.0
            if response.status_code != 200:
                return await _refusal(response), _retry_after(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                return "the address does not stream", 0.0
            reader = AnswerReader(figures.gaps.add)
            async for piece in response.aiter_bytes():
                reader.feed(piece, at=self._clock())
        ended, self._answering = self._clock(), reader.answering
        if reader.problem is not None:
            return reader.problem, 0.0
        figures.answered += 1
        figures.pieces += reader.pieces
        figures.output_tokens += reader.output_tokens or 0
        figures.total.add(ended - began)
        figures.longest_gaps.add(reader.longest_gap)
        now = self._now()
        now.answered += 1
        if reader.first_text is not None:
            figures.first_text.add(reader.first_text - began)
            now.first_text.add(reader.first_text - began)
        return None, 0.0

    def _question(self) -> Question:
        questions = self._plan.questions
        self._asked += 1
        return questions[(self._asked - 1) % len(questions)]

    async def _signed_in(self) -> Mapping[str, str]:
        async with self._signing_in:
            if self._clock() - self._signed_in_at > RENEW_SECONDS:
                self._headers = {
                    **await asyncio.to_thread(self._address.headers),
                    "content-type": "application/json",
                    "accept": "text/event-stream",
                    # Compression would hold pieces back until a block is full.
                    "accept-encoding": "identity",
                }
                self._signed_in_at = self._clock()
            return self._headers

    def _now(self) -> Slice:
        return self._result.timeline.at(self._clock() - self._began)

    async def _watch(self, watcher: Watcher) -> None:
        while True:
            now = self._now()
            now.users = max(now.users, len(self._users))
            watcher.second()
            await asyncio.sleep(1.0)

    async def _note_delay(self) -> None:
        while True:
            expected = self._clock() + DELAY_EVERY
            await asyncio.sleep(DELAY_EVERY)
            self._result.own_delay.add(self._clock() - expected)


async def _refusal(response: httpx.Response) -> str:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MOST_ERROR_BYTES:
            break
    return " ".join(filter(None, (f"HTTP {response.status_code}", code_of(bytes(body)))))


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    return min(float(given), LONGEST_RETRY_AFTER) if given.isascii() and given.isdigit() and len(given) < 10 else 0.0
