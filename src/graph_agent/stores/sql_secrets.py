"""The statements behind `Store.secret`, for SQLite and PostgreSQL."""

from graph_agent.stores.database import Connection, Database


async def kept_secret(database: Database, name: str, made: bytes) -> bytes:
    """The secret of that name. If there is none, `made` is kept. See `Store.secret`."""

    async def find(connection: Connection) -> bytes | None:
        found = await connection.rows("SELECT value FROM secrets WHERE name = ?", (name,))
        return bytes(found[0][0]) if found else None

    async def keep(connection: Connection) -> None:
        await connection.run(
            "INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (name, made)
        )

    kept = await database.read(find)
    if kept is None:
        # Of several processes that find none, the first one's stays, and all of them read it.
        await database.write(keep)
        kept = await database.read(find)
    return made if kept is None else kept
