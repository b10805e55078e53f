"""What is said over a WebSocket about steers: messages for the response in flight.

Source: the types `ResponseSteer…` of openai-python 3.57. The numbers of these messages count on their own, because they
come between the events of responses.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from graph_agent.errors import AgentError, ResponseCompleted, ResponseNotActive, ResponseNotFound
from graph_agent.foreign_errors import describe_error
from graph_agent.protocol.events import Event
from graph_agent.protocol.steering import (
    STEER,
    failure_code,
    required_input,
    steer_accepted,
    steer_failed,
    steer_pending,
)
from graph_agent.redaction import redact_value
from graph_agent.runs.event_log import Entry
from graph_agent.runs.log_context import add_log_facts, within_log_facts
from graph_agent.serving.request_log import log_request
from graph_agent.serving.routes.answers import FAILED
from graph_agent.serving.socket_turns import Asking, SocketTurns, Telling
from graph_agent.serving.socket_writer import ClientLeft, SocketWriter

logger = logging.getLogger(__name__)

NOT_HERE = "the connection has no such response in flight: steer it over HTTP, at /v1/responses/{id}/steer"
HAS_ENDED = "the response has ended: send the messages in a `response.create` that follows it"
GIVEN_BACK = "the response does not go on, so the messages are given back: send them in a `response.create`"


class SocketSteering:
    """The steers of one connection."""

    def __init__(self, *, asking: Asking, turns: SocketTurns, writer: SocketWriter, path: str) -> None:
        self._asking, self._turns, self._writer, self._path = asking, turns, writer, path
        self._accepting = asyncio.Lock()
        self._accepted: set[str] = set()
        """The ids of steers of which nothing more was said."""
        self.last: str | None = None
        """The response that was in flight last."""
        self._count = 0

    async def answer(self, fields: Mapping[str, Any], telling: Telling | None) -> None:
        """Accept a `response.steer` for the response in flight, or say why not.

        Raises:
            ClientLeft: the connection is gone.
        """
        began = time.monotonic()
        previous = fields.get("previous_response_id")
        with within_log_facts({"connection": self._asking.memory.id}):
            status = 202
            try:
                async with self._accepting:
                    with self._turns.steering.counting():
                        steer = await self._steered(fields, telling)
                    self._accepted.add(steer)
                    await self._say(steer_accepted(steer, str(previous)))
            except AgentError as error:
                status = error.status
                add_log_facts(code=error.code)
                await self._refuse(fields, code=failure_code(error), message=error.message)
            except ClientLeft:
                raise
            except Exception as error:  # noqa: BLE001 - the connection goes on, and no message of foreign code
                status = 500
                logger.error("message failed: %s", describe_error(error))
                await self._refuse(fields, code=AgentError.code, message=FAILED)
            log_request(STEER, self._path, {"status": status}, time.monotonic() - began)

    async def _steered(self, fields: Mapping[str, Any], telling: Telling | None) -> str:
        previous = fields.get("previous_response_id")
        if isinstance(previous, str) and (telling is None or telling.response_id != previous):
            # A message that is wrong in itself is told so first.
            raise ResponseCompleted(HAS_ENDED) if previous == self.last else ResponseNotFound(NOT_HERE)
        if telling is None:
            raise ResponseNotFound(NOT_HERE)
        return (await self._turns.steer(fields, asking=self._asking, telling=telling)).id

    async def told(self, telling: Telling, last: Entry) -> None:
        """Say what became of the steers of a response that has just been told. `last` is its terminal event."""
        if not self._accepted and not self._accepting.locked():
            return
        # One that is about to be accepted was either in time, or is refused.
        async with self._accepting:
            if not self._accepted:
                return
            try:
                steers = await self._turns.steers(telling, asking=self._asking)
            except AgentError as error:
                # The response is told, and an error now would be taken for the end of another one.
                logger.error("what became of the steers of %s is not known: %s", telling.response_id, error.code)
                return
            for steer in steers:
                if steer.id not in self._accepted:
                    continue
                self._accepted.discard(steer.id)
                if steer.status == "queued":
                    required = required_input(last.event["response"]["output"])
                    await self._say(steer_pending(steer.id, steer.response, required))
                elif steer.status == "failed":
                    code = steer.error or ResponseNotActive.code
                    await self._say(
                        steer_failed(steer.id, steer.response, list(steer.input), code=code, message=GIVEN_BACK)
                    )

    async def _refuse(self, fields: Mapping[str, Any], *, code: str, message: str) -> None:
        said, previous = fields.get("input"), fields.get("previous_response_id")
        await self._say(
            steer_failed(
                None,
                redact_value(previous) if isinstance(previous, str) else "",
                redact_value(said) if isinstance(said, str | list) else "",
                code=code,
                message=message,
            )
        )

    async def _say(self, event: Event) -> None:
        number, self._count = self._count, self._count + 1
        await self._writer.say({**event, "sequence_number": number})
