"""Sends one message to one target, and says what came of it. Imports httpx."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import httpx
import orjson

from graph_agent.databricks.cookies import reject_cookies
from graph_agent.databricks.retry_after import retry_after
from graph_agent.foreign_errors import describe_error
from graph_agent.stores.delivery_records import Delivery
from graph_agent.webhooks.signatures import signed_headers
from graph_agent.webhooks.targets import Target

SEND_SECONDS = 15.0
"""How long a receiver may take to answer, with everything before that."""

GONE = 410
"""The receiver wants no more of it. Source: Standard Webhooks specification, "Deliverability and reliability"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one try."""

    kind: Literal["arrived", "gone", "failed"]
    why: str = ""
    """Without what the receiver said, which may hold anything."""

    wait: float | None = None
    """The seconds that the receiver asks to wait."""


class Sender:
    """The connections to the targets of one process. Making it takes a while."""

    def __init__(self) -> None:
        # Two, because no proxy of the environment reaches this machine.
        self._away, self._here = _client(trust_env=True), _client(trust_env=False)

    async def send(self, target: Target, delivery: Delivery, *, at: float) -> Outcome:
        """Send a message, signed `at` this time, in seconds since 1970. The body of the answer is never read."""
        body = body_of(delivery)
        headers = {
            "content-type": "application/json",
            "user-agent": "graph-agent",
            **signed_headers(target.keys, id_=delivery.id, at=at, body=body),
        }
        client = self._here if target.on_loopback else self._away
        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                client.stream("POST", target.url, content=body, headers=headers) as answer,
            ):
                return _outcome(answer.status_code, answer.headers)
        except TimeoutError:
            return Outcome(kind="failed", why=f"no answer within {SEND_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - a message of httpx may quote the URL
            return Outcome(kind="failed", why=describe_error(error))

    async def aclose(self) -> None:
        """Close the connections."""
        for one in (self._away, self._here):
            await one.aclose()


def _client(*, trust_env: bool) -> httpx.AsyncClient:
    made = httpx.AsyncClient(follow_redirects=False, timeout=SEND_SECONDS, trust_env=trust_env)
    reject_cookies(made.cookies.jar)
    return made


def body_of(delivery: Delivery) -> bytes:
    """The message: ids only. It is that of OpenAI's webhooks, with the `timestamp` of Standard Webhooks."""
    happened = datetime.fromtimestamp(delivery.created_at, UTC)
    return orjson.dumps(
        {
            "id": delivery.id,
            "object": "event",
            "type": delivery.type,
            "created_at": int(delivery.created_at),
            "timestamp": happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "data": {"id": delivery.response},
        }
    )


def _outcome(status: int, headers: Mapping[str, str]) -> Outcome:
    if 200 <= status < 300:
        return Outcome(kind="arrived")
    if status == GONE:
        return Outcome(kind="gone", why=f"status {status}")
    return Outcome(kind="failed", why=f"status {status}", wait=retry_after(headers))
