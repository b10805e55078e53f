"""Whether a user may use a store's schema. Creates nothing, because tables belong to whoever creates them."""

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.database import Connection
from graph_agent.stores.postgres_database import PostgresDatabase

SCHEMA = """
    SELECT current_database(), current_user, pg_get_userbyid(found.nspowner),
        has_database_privilege(current_database(), 'CREATE'),
        has_schema_privilege(found.oid, 'USAGE') AND has_schema_privilege(found.oid, 'CREATE')
    FROM (SELECT 1) one LEFT JOIN pg_namespace found ON found.nspname = ?"""

CLOSED_TABLES = """
    SELECT pg_get_userbyid(relowner) FROM pg_class JOIN pg_namespace found ON found.oid = relnamespace
    WHERE found.nspname = ? AND relkind = 'r' AND NOT (has_table_privilege(pg_class.oid, 'SELECT')
        AND has_table_privilege(pg_class.oid, 'INSERT') AND has_table_privilege(pg_class.oid, 'UPDATE')
        AND has_table_privilege(pg_class.oid, 'DELETE'))
    LIMIT 1"""


async def check_access(database: PostgresDatabase, schema: str) -> str:
    """Connect, and look at the rights to the schema. Returns a line about it.

    Raises:
        StoreUnavailable: the database does not answer, or the user lacks a right. The message says what to grant.
    """

    async def look(connection: Connection) -> str:
        [(name, user, owner, may_create, may_use)] = await connection.rows(SCHEMA, (schema,))
        if owner is None:
            if not may_create:
                raise StoreUnavailable(
                    f'{user} may not create the schema: GRANT CREATE ON DATABASE "{name}" TO "{user}"'
                )
            return f"the database {name} answers; the schema {schema} will be created"
        if not may_use:
            raise StoreUnavailable(
                f'the schema {schema} belongs to {owner}: GRANT USAGE, CREATE ON SCHEMA {schema} TO "{user}", or choose'
                " another one with GRAPH_AGENT_STORE_SCHEMA"
            )
        if closed := await connection.rows(CLOSED_TABLES, (schema,)):
            raise StoreUnavailable(
                f"tables of the schema {schema} belong to {closed[0][0]}, and {user} may not use them: drop the schema"
                " if nothing in it must be kept, or choose another one with GRAPH_AGENT_STORE_SCHEMA"
            )
        return f"the database {name} answers, and {user} may use the schema {schema}"

    await database.open()
    return await database.read(look)
