"""A connection to PostgreSQL on which no wait is endless, and the words for what went wrong. Imports psycopg."""

import select
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from psycopg import AsyncConnection, Error, OperationalError, errors
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import PoolTimeout

CONNECT_SECONDS = 5
"""The longest time to connect, in whole seconds, because libpq takes no fractions."""

STATEMENT_SECONDS = 10
"""The database stops a statement that takes longer."""

ANSWER_SECONDS = 12.0
"""The longest wait for an answer of the database. A server that hangs keeps its connections open."""

FRESH_SECONDS = 2.0
"""A connection that was used so recently is not asked for a sign of life, only looked at."""

IDLE_SECONDS = 3
"""The database ends a transaction in which nothing happens for this long, such as one of a process that was stopped.
Its locks would block others, and the process that takes over its runs is one of them."""

LIMITS: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    # A connection whose other end vanished is noticed after 15 s, and not after the two hours of the system.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "application_name": "graph-agent",
}


class SignIn(Protocol):
    """Where the parameters of each new connection come from."""

    async def parameters(self) -> Mapping[str, Any]:
        """The parameters by libpq's names.

        Raises:
            StoreUnavailable: they cannot be had now.
        """

    def refused(self) -> None:
        """The database did not accept them."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Hears of every attempt to connect."""

    connected: Callable[[], None]
    failed: Callable[[Exception], None]


class BoundedConnection(AsyncConnection[TupleRow]):
    """A connection whose every wait ends. After a wait that took too long, the connection is closed."""

    patience = ANSWER_SECONDS
    opened_at = 0.0
    """When it was opened, in seconds of `time.monotonic()`."""

    may_be_repeated = False
    """Whether its work can be done again on another connection if this one is lost."""

    _heard_at = 0.0

    @classmethod
    async def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, sign_in: SignIn, watch: Watch, setup: Callable[[Self], Awaitable[None]]
    ) -> Self:
        """Connect in autocommit mode with the parameters of `sign_in`."""
        try:
            made = await super().connect(conninfo, **LIMITS | dict(await sign_in.parameters()), autocommit=True)
            try:
                await setup(made)
            except BaseException:
                await made.close()
                raise
        except Exception as error:
            if reason_of(error) is REFUSED:
                sign_in.refused()
            watch.failed(error)
            raise
        made.opened_at = time.monotonic()
        watch.connected()
        return made

    @property
    def seems_alive(self) -> bool:
        """Whether the server answered just now and has not hung up since. It costs no round trip."""
        if time.monotonic() - self._heard_at > FRESH_SECONDS:
            return False
        # A server that ends a session says so, or closes the socket. Either makes it readable.
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def wait(self, gen: "PQGen[Any]", interval: float = 0.1, timeout: float | None = None) -> Any:
        """As the base class, for at most `patience` seconds."""
        try:
            found = await super().wait(gen, interval, timeout or self.patience)
            self._heard_at = time.monotonic()
            return found
        except errors._WaitTimeout:
            # The answer may still arrive, and would be taken for that of the next statement.
            self.pgconn.finish()
            raise


REFUSED = "it refuses the user or the password"
_WORDS: tuple[tuple[str, str], ...] = (
    ("starting up", "it is starting"),
    ("shutting down", "it is stopping"),
    ("authentication failed", REFUSED),
    ("no password supplied", REFUSED),
    ("no pg_hba.conf entry", REFUSED),
    ('role "', REFUSED),
    ('database "', "there is no such database, or the user may not use it"),
    ("too many", "it has no free connection"),
    ("remaining connection slots", "it has no free connection"),
    ("SSL", "it does not use TLS, or its certificate is not accepted"),
    ("resolve", "its host name is unknown"),
    ("timeout", "it is silent"),
)
_STATES: tuple[tuple[str, str], ...] = (
    ("28", REFUSED),
    ("3D", "there is no such database"),
    ("42501", "the user may not do this; let the role that owns the tables grant it, or set GRAPH_AGENT_STORE_SCHEMA"),
    ("25006", "it only accepts reads"),
    ("40", "another transaction was in the way"),
    ("53", "it has no free connection, memory or disk"),
    ("57014", "it took too long"),
    ("57", "it is stopping"),
)
"""The beginnings of PostgreSQL's error codes."""


def reason_of(error: BaseException) -> str:
    """Why the database does not answer, in words of ours. The text of the driver is never repeated."""
    if isinstance(error, PoolTimeout):
        return "no connection was free in time"
    if isinstance(error, errors._WaitTimeout):
        return "it is silent"
    state = error.sqlstate if isinstance(error, Error) else None
    if state is not None:
        found = next((reason for beginning, reason in _STATES if state.startswith(beginning)), None)
        return found or f"{type(error).__name__} {state}"
    if isinstance(error, OperationalError):
        # libpq gives no code for a connection that cannot be opened, only text, and the server may write it in another
        # language. So this is a guess, for the operator.
        text = str(error)
        return next((reason for word, reason in _WORDS if word in text), "nothing listens there, or it hung up")
    return type(error).__name__


def was_in_the_way(error: BaseException) -> bool:
    """Whether the transaction was rolled back because of another one, and may be repeated."""
    return isinstance(error, Error) and (error.sqlstate or "").startswith("40")


def was_lost(error: BaseException, connection: BoundedConnection) -> bool:
    """Whether the connection was lost before its work could be committed. A silent server is not waited for twice."""
    return connection.may_be_repeated and connection.closed and not isinstance(error, errors._WaitTimeout)
