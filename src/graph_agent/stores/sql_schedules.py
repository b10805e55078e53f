"""The statements behind `Schedules`, for SQLite and PostgreSQL.

Each schedule has one row with its last time. A time is taken by moving that row forward, so that of several processes
only one can, and no time is taken after a later one.
"""

from graph_agent.identity.owner import Owner
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.schedule_records import EarlierRunGoesOn, Tick, TickTaken

MOVE = (
    "INSERT INTO schedules (owner, name, tick, response) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (owner, name) DO UPDATE SET tick = excluded.tick, "
    "response = COALESCE(excluded.response, schedules.response) WHERE schedules.tick < excluded.tick"
)


class SqlSchedules:
    """See `Schedules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_tick(self, owner: Owner, name: str, *, new: float) -> float:
        """See `Schedules.last_tick`."""
        key = (owner.key, name)

        async def look(connection: Connection) -> float | None:
            found = await connection.rows("SELECT tick FROM schedules WHERE owner = ? AND name = ?", key)
            return found[0][0] if found else None

        async def work(connection: Connection) -> float:
            await connection.run(
                "INSERT INTO schedules (owner, name, tick) VALUES (?, ?, ?) ON CONFLICT (owner, name) DO NOTHING",
                (*key, new),
            )
            last = await look(connection)
            return new if last is None else last

        last = await self._database.read(look)
        return await self._database.write(work) if last is None else last

    async def pass_over(self, owner: Owner, name: str, tick: float) -> bool:
        """See `Schedules.pass_over`."""

        async def work(connection: Connection) -> bool:
            return bool(await connection.run(MOVE, (owner.key, name, tick, None)))

        return await self._database.write(work)


async def take_tick(connection: Connection, owner: Owner, response_id: str, tick: Tick) -> None:
    """Take a time of a schedule for the run of this response, in the transaction that begins it.

    Raises:
        TickTaken: it was dealt with already.
        EarlierRunGoesOn: the earlier run has not ended, and no two may run at a time.
    """
    if tick.alone:
        earlier = await connection.rows(
            "SELECT r.response FROM schedules s JOIN runs r ON r.owner = s.owner AND r.response = s.response "
            "WHERE s.owner = ? AND s.name = ? AND s.tick < ? AND r.state <> 'ended'",
            (owner.key, tick.schedule, tick.at),
        )
        if earlier:
            raise EarlierRunGoesOn(earlier[0][0])
    if not await connection.run(MOVE, (owner.key, tick.schedule, tick.at, response_id)):
        raise TickTaken(tick.schedule)
