"""One WebSocket at `/v1/responses`: its messages are answered one after the other, each with a response or an error.

Source: the Open Responses specification of 2026-04-24, "WebSocket Transport".
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Send

from graph_agent.errors import AgentError, InvalidRequest, ServiceStopping, SocketExpired, TooManyQueued
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.events import TERMINAL
from graph_agent.protocol.json_decoding import no_pulse
from graph_agent.protocol.socket_messages import CREATE, error_message, message_fields, unknown_message
from graph_agent.protocol.steering import STEER
from graph_agent.runs.event_log import Entry
from graph_agent.runs.log_context import add_log_facts, current_log_facts, within_log_facts
from graph_agent.runs.registry import stopping
from graph_agent.serving.errors import NO_RESPONSE_STATUS, retry_headers
from graph_agent.serving.limits import MOST_PARSED_HERE, RETRY_AFTER_SECONDS, Bodies
from graph_agent.serving.request_log import log_request
from graph_agent.serving.routes.answers import FAILED
from graph_agent.serving.socket_steering import SocketSteering
from graph_agent.serving.socket_turns import Asking, SocketTurns, Telling
from graph_agent.serving.socket_writer import ClientLeft, SocketWriter
from graph_agent.serving.sse import LATE_READER_SECONDS
from graph_agent.threads import run_giving_way

logger = logging.getLogger(__name__)

MOST_QUEUED = 8
"""Messages that may wait while a response is in flight."""

MOST_REFUSED = 64
"""Messages that may come while the queue is full. A client that sends more does not listen."""

NORMAL, GOING_AWAY, POLICY, FAILURE, RESTART = 1000, 1001, 1008, 1011, 1012
"""Closing codes of RFC 6455 and its registry."""

ERROR = "error"
"""The event that tells a failure before `response.failed` does, over HTTP."""

EXPIRED = "The connection has been open for {seconds:g} s, which is as long as it may be. Open another one."
NOT_TEXT = "The message must be JSON in a text frame; it came in a binary frame."


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLimits:
    """The limits of one connection."""

    seconds: float
    """How long it may be open. A response in flight is told to its end."""

    idle_seconds: float
    """How long it may be open without a message of the client, while none is answered."""

    write_seconds: float
    """How long the client may read nothing while a message waits for it."""


@dataclass(slots=True)
class _Waiting:
    """A message that waits for its turn, or why it is refused then."""

    message: bytes = b""
    refused: AgentError | None = None
    times: int = 1
    """How many messages in a row are refused for this."""


@dataclass(slots=True)
class Turn:
    """The answer to one message."""

    stream_id: Any = None
    """What the message has under this name, for its errors."""

    previous: str | None = None
    """The response that the message continues."""

    status: int = 200
    telling: Telling | None = None
    """The run that is being told."""

    told: bool = False
    """Whether the client has got all of it."""


class SocketSession:
    """One connection, from its acceptance to its end. Call `run` once."""

    def __init__(
        self,
        *,
        asking: Asking,
        turns: SocketTurns,
        bodies: Bodies,
        limits: SocketLimits,
        receive: Receive,
        send: Send,
        path: str,
        together: bool = False,
        failed: Callable[[str], None] | None = None,
    ) -> None:
        """`failed` is called with the code of each error with which a message is answered. `together` is that of
        `SocketWriter`."""
        self._asking = asking
        self._turns = turns
        self._bodies = bodies
        self._limits = limits
        self._receive = receive
        self._path = path
        self._failed = failed
        self._writer = SocketWriter(send, together=together, write_seconds=limits.write_seconds, cut=self._cut)
        self._steering = SocketSteering(asking=asking, turns=turns, writer=self._writer, path=path)
        self._queue: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._refused = 0
        self._stops = False
        self._turn: Turn | None = None
        self._answering: asyncio.Future[None] | None = None
        self._ends = time.monotonic() + limits.seconds

    def stop(self) -> None:
        """End the connection, after the response in flight."""
        self._stops = True
        self._news.set()

    def _cut(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    async def run(self) -> None:
        """Answer messages until the client leaves, or the connection ends for another reason."""
        self._writer.watch()
        receiving = asyncio.ensure_future(self._receive_all())
        answering = self._answering = asyncio.ensure_future(self._answer_all())
        try:
            await asyncio.wait([receiving, answering], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writer.stop()
            for task in (receiving, answering):
                task.cancel()
            await asyncio.gather(receiving, answering, return_exceptions=True)
            for one in self._queue:
                self._bodies.give_back(len(one.message))
            self._queue.clear()
            await self._asking.memory.aclose()

    # -- what the client sends ----------------------------------------------------------------------------------

    async def _receive_all(self) -> None:
        """Read messages, also while a response is in flight: nothing else tells that the client has left."""
        while (received := await self._receive())["type"] != "websocket.disconnect":
            if (text := received.get("text")) is None:
                self._refuse_later(InvalidRequest(NOT_TEXT))
                continue
            message = text.encode("utf-8", "surrogatepass")
            kind = await self._kind_at_once(message)
            if kind is None:
                self._wait(message)
            else:
                await self._answer_at_once(kind, message)
            if self._refused > MOST_REFUSED:
                await self._writer.close(POLICY, "too many messages while the queue is full")
                return

    async def _kind_at_once(self, message: bytes) -> str | None:
        """The kind of a message, if it is one that does not wait for its turn."""
        # Looking for the word first: parsing each message here, too, would double the work.
        if not any(kind.encode() in message for kind in AT_ONCE):
            return None
        try:
            kind = (await self._fields(message))["type"]
        except AgentError:
            # It gets its error in its turn.
            return None
        return kind if kind in AT_ONCE else None

    async def _answer_at_once(self, kind: str, message: bytes) -> None:
        try:
            await AT_ONCE[kind](self, message)
        except AgentError as error:
            self._refuse_later(error)
        except ClientLeft:
            raise
        except Exception as error:  # noqa: BLE001 - the client must get an answer, and no message of foreign code
            logger.error("message failed: %s", describe_error(error))
            self._refuse_later(AgentError(FAILED))

    def _wait(self, message: bytes) -> None:
        # Without a turn, the first one does not wait.
        most = MOST_QUEUED + (self._turn is None)
        if sum(one.refused is None for one in self._queue) >= most:
            self._refused += 1
            self._refuse_later(
                TooManyQueued(
                    f"{MOST_QUEUED} messages wait already; send this one again when they are answered",
                    retry_after=RETRY_AFTER_SECONDS,
                )
            )
            return
        try:
            self._bodies.take(len(message))
        except AgentError as error:
            self._refuse_later(error)
            return
        self._queue.append(_Waiting(message))
        self._news.set()

    def _refuse_later(self, error: AgentError) -> None:
        """Answer a message with an error in its turn: an error in the midst of a response would be taken for its
        end."""
        last = self._queue[-1] if self._queue else None
        if last is not None and last.refused is not None and type(last.refused) is type(error):
            last.times += 1
        else:
            self._queue.append(_Waiting(refused=error))
        self._news.set()

    # -- the answers, one after the other -----------------------------------------------------------------------

    async def _answer_all(self) -> None:
        code, reason = FAILURE, ""
        with suppress(ClientLeft):
            try:
                code, reason = await self._answer_until_the_end()
            except ClientLeft:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the client must get an end
                logger.error("a connection failed: %s", describe_error(error))
            await self._writer.close(code, reason)

    async def _answer_until_the_end(self) -> tuple[int, str]:
        """Answer messages. Returns the code and the reason with which the connection is closed."""
        while True:
            if self._stops:
                await self._refuse_all(stopping())
                return RESTART, "the service is stopping"
            now = time.monotonic()
            if now >= self._ends:
                await self._refuse_all(SocketExpired(EXPIRED.format(seconds=self._limits.seconds)), at_least=1)
                return NORMAL, "open another connection"
            if not self._queue:
                self._refused = 0
                idle = self._limits.idle_seconds
                if not await self._news_within(min(idle, self._ends - now)) and now + idle < self._ends:
                    return GOING_AWAY, f"no message for {idle:g} s"
                continue
            waiting = self._queue[0]
            if waiting.refused is None:
                self._queue.popleft()
            else:
                waiting.times -= 1
                if not waiting.times:
                    self._queue.popleft()
            await self._answer(waiting)

    async def _news_within(self, seconds: float) -> bool:
        """Wait for a message, or for the order to stop. Returns whether there was one."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
            return True
        return False

    async def _refuse_all(self, error: AgentError, *, at_least: int = 0) -> None:
        """Answer the messages that wait with an error. One message of it may be sent to nobody who waits."""
        waiting = sum(one.times for one in self._queue)
        for one in self._queue:
            self._bodies.give_back(len(one.message))
        self._queue.clear()
        for _ in range(max(waiting, at_least)):
            await self._say(error, Turn())

    async def _answer(self, waiting: _Waiting) -> None:
        began, turn = time.monotonic(), Turn()
        self._turn = turn
        # Each message has facts and a log line of its own, as a request over HTTP has.
        with within_log_facts({"connection": self._asking.memory.id}):
            try:
                if waiting.refused is not None:
                    raise waiting.refused
                try:
                    telling = await self._begun(waiting.message, turn)
                finally:
                    # What was sent is not kept while its answer is told.
                    self._bodies.give_back(len(waiting.message))
                    waiting.message = b""
                if telling is not None:
                    await self._tell(telling, turn)
            except AgentError as error:
                await self._fail(error, turn)
            except (asyncio.CancelledError, ClientLeft):
                if not turn.told:
                    turn.status = NO_RESPONSE_STATUS
                raise
            except Exception as error:  # noqa: BLE001 - the client must get an end, and no message of foreign code
                logger.error("message failed: %s", describe_error(error))
                await self._fail(AgentError(FAILED), turn)
            finally:
                self._turn = None
                facts = current_log_facts() or {}
                log_request(CREATE, self._path, {**facts, "status": turn.status}, time.monotonic() - began)
                if self._failed is not None and (code := facts.get("code")) is not None:
                    self._failed(code)

    async def _begun(self, message: bytes, turn: Turn) -> Telling | None:
        fields = await self._fields(message)
        turn.stream_id = fields.get("stream_id")
        answer = IN_TURN.get(fields["type"])
        if answer is None:
            raise unknown_message(fields["type"])
        return await answer(self, fields, len(message), turn)

    async def _fields(self, message: bytes) -> Mapping[str, Any]:
        if len(message) <= MOST_PARSED_HERE:
            return message_fields(message, no_pulse)
        return await run_giving_way(lambda pulse: message_fields(message, pulse))

    async def _fail(self, error: AgentError, turn: Turn) -> None:
        """End a turn without a response."""
        if turn.told:
            # It has its end already.
            logger.error("after the end of a response, its connection failed: %s", error.code)
            return
        turn.status = error.status
        if turn.previous is not None:
            await self._asking.memory.evict(turn.previous)
        await self._say(error, turn)

    async def _say(self, error: AgentError, turn: Turn) -> None:
        add_log_facts(code=error.code)
        await self._writer.say(error_message(error, stream_id=turn.stream_id, headers=retry_headers(error)))

    # -- a response ---------------------------------------------------------------------------------------------

    async def _create(self, fields: Mapping[str, Any], size: int, turn: Turn) -> Telling:
        """Begin the run that a `response.create` asks for."""
        previous = fields.get("previous_response_id")
        turn.previous = previous if isinstance(previous, str) else None
        return await self._turns.begin(fields, size=size, asking=self._asking)

    async def _tell(self, telling: Telling, turn: Turn) -> None:
        """Tell a run to its end, and remember its response. If that was steered, the one that goes on is told, too."""
        successor: Telling | None = telling
        while (told := successor) is not None:
            successor = await self._tell_whole(told, turn)
            turn.previous = told.response_id

    async def _tell_whole(self, telling: Telling, turn: Turn) -> Telling | None:
        """Tell one response to its end. Returns the one that goes on, if it was steered."""
        turn.telling, turn.told = telling, False
        add_log_facts(run_id=telling.response_id, request_id=telling.response_id)
        try:
            last = await self._tell_events(telling, turn)
        finally:
            turn.telling, self._steering.last = None, telling.response_id
            self._writer.end_within(None)
            await telling.reader.leave()
        if last is None:
            # The run goes on at another process, or nothing tells how it ended.
            raise stopping()
        turn.told = True
        self._turns.told(telling)
        memory, is_remembered = self._asking.memory, telling.request.connection is not None
        if last.type == "response.failed":
            # Before the connection forgets it.
            await self._steering.told(telling, last)
            if turn.previous is not None:
                await memory.evict(turn.previous)
            if is_remembered:
                await memory.discard(telling.response_id)
            return None
        if is_remembered:
            await memory.keep(telling.request, telling.response_id)
        await self._steering.told(telling, last)
        return await self._turns.successor(telling, last, asking=self._asking)

    async def _tell_events(self, telling: Telling, turn: Turn) -> Entry | None:
        """Send the events of a run. Returns the terminal one, or `None` if there was none."""

        def is_over() -> None:
            # It may be told already.
            if turn.telling is telling:
                self._writer.end_within(LATE_READER_SECONDS)

        if telling.run is not None:
            telling.run.when_over(is_over)
        last: Sequence[Entry] = ()
        with suppress(ServiceStopping):
            async for batch in telling.reader:
                # One message ends a turn, so that a failure is told by `response.failed` alone.
                await self._writer.write([one.data for one in batch if one.type != ERROR])
                last = batch or last
        return last[-1] if last and last[-1].type in TERMINAL else None

    # -- beside the response in flight --------------------------------------------------------------------------

    async def _steer(self, message: bytes) -> None:
        """Answer a `response.steer`."""
        try:
            self._bodies.take(len(message))
        except AgentError as error:
            self._refuse_later(error)
            return
        try:
            turn = self._turn
            await self._steering.answer(await self._fields(message), None if turn is None else turn.telling)
        finally:
            self._bodies.give_back(len(message))


InTurn = Callable[[SocketSession, Mapping[str, Any], int, Turn], Awaitable[Telling | None]]
AtOnce = Callable[[SocketSession, bytes], Awaitable[None]]

IN_TURN: Mapping[str, InTurn] = {CREATE: SocketSession._create}
"""The kinds of messages that wait for their turn -> what begins the answer, from the fields, the number of bytes and
the turn. The run that it returns is told."""

AT_ONCE: Mapping[str, AtOnce] = {STEER: SocketSession._steer}
"""The kinds of messages that are answered at once, also while a response is in flight: `SocketSession._turn` has that
one."""
