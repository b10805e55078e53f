"""The statements behind `Deliveries`, for SQLite and PostgreSQL.

A row is a message that has not arrived. It is claimed by moving its `due_at` into the future: if the process that has
claimed it is gone, it becomes due again. `tries` is the right to say what became of it.
"""

from collections.abc import Collection, Mapping, Sequence

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.delivery_records import Delivery
from graph_agent.stores.records import ResponseStatus
from graph_agent.stores.run_records import Right
from graph_agent.stores.sql_rows import Row

DELIVERIES_TOPIC = "webhooks"
"""See `stores.store.DELIVERIES`."""

OF = "owner = ? AND response = ? AND tries = ?"


class SqlDeliveries:
    """See `Deliveries`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, free: Mapping[str, int], *, most: int, busy_seconds: float) -> Sequence[Delivery]:
        """See `Deliveries.claim`."""
        now = self._database.now
        wanted = {target: count for target, count in free.items() if count > 0}
        if not wanted or most <= 0:
            return ()

        async def look(connection: Connection) -> list[Row]:
            return await connection.rows(
                "SELECT owner, response, tries, target, nth FROM (SELECT owner, response, tries, target, due_at, "
                "ROW_NUMBER() OVER (PARTITION BY target ORDER BY due_at, response) AS nth FROM webhook_deliveries "
                f"WHERE due_at <= {now} AND target IN ({_marks(wanted)})) AS due "
                "WHERE nth <= ? ORDER BY due_at, response LIMIT ?",
                (*wanted, max(wanted.values()), most),
            )

        async def work(connection: Connection) -> Sequence[Delivery]:
            claimed: list[Delivery] = []
            # In one order, so that two transactions never wait for each other.
            for owner, response, tries, target, nth in sorted(found):
                if nth > wanted[target]:
                    continue
                claimed += [
                    _delivery(row)
                    for row in await connection.rows(
                        f"UPDATE webhook_deliveries SET tries = tries + 1, due_at = {now} + ? WHERE {OF} "
                        f"AND due_at <= {now} RETURNING owner, response, id, target, type, created_at, "
                        f"{now} - created_at, tries",
                        (busy_seconds, owner, response, tries),
                    )
                ]
            return claimed

        # Most of the time there is nothing, and reading keeps nobody from writing.
        found = await self._database.read(look)
        return await self._database.write(work) if found else ()

    async def due_in(self, targets: Collection[str]) -> float | None:
        """See `Deliveries.due_in`."""

        async def work(connection: Connection) -> float | None:
            rows = await connection.rows(
                f"SELECT MIN(due_at) - {self._database.now} FROM webhook_deliveries "
                f"WHERE target IN ({_marks(targets)})",
                tuple(targets),
            )
            return None if rows[0][0] is None else max(float(rows[0][0]), 0.0)

        return await self._database.read(work) if targets else None

    async def done(self, delivery: Delivery) -> None:
        """See `Deliveries.done`."""

        async def work(connection: Connection) -> None:
            await connection.run(f"DELETE FROM webhook_deliveries WHERE {OF}", _key(delivery))

        await self._database.write(work)

    async def retry(self, delivery: Delivery, *, seconds: float) -> None:
        """See `Deliveries.retry`."""

        async def work(connection: Connection) -> None:
            await connection.run(
                f"UPDATE webhook_deliveries SET due_at = {self._database.now} + ? WHERE {OF}",
                (seconds, *_key(delivery)),
            )

        await self._database.write(work)

    async def expire(self, *, older_seconds: float) -> int:
        """See `Deliveries.expire`."""

        async def work(connection: Connection) -> int:
            return await connection.run(
                f"DELETE FROM webhook_deliveries WHERE created_at < {self._database.now} - ?", (older_seconds,)
            )

        return await self._database.write(work)


async def add_delivery(
    connection: Connection, right: Right, *, now: str, id_: str, target: str, status: ResponseStatus
) -> None:
    """Record that a webhook is to be sent, in the transaction that ends the run. `now` is SQL for the time."""
    await connection.run(
        "INSERT INTO webhook_deliveries (owner, response, id, target, type, created_at, due_at, tries) "
        f"VALUES (?, ?, ?, ?, ?, {now}, {now}, 0)",
        (right.owner.key, right.response, id_, target, f"response.{status}"),
    )
    await connection.announce((DELIVERIES_TOPIC,))


def _key(delivery: Delivery) -> tuple[str, str, int]:
    return delivery.owner.key, delivery.response, delivery.tries


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))


def _delivery(row: Row) -> Delivery:
    owner, response, id_, target, kind, created_at, age, tries = row
    return Delivery(
        owner=Owner(owner),
        response=response,
        id=id_,
        target=target,
        type=kind,
        created_at=created_at,
        age=age,
        tries=tries,
    )
