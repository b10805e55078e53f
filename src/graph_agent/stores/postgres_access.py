"""Whether a user may use a store's schema. Creates nothing, because tables belong to whoever creates them.

Also the grants that another role needs for it, such as that of a deployed app.
"""

import re

from graph_agent.errors import BadSetting, StoreUnavailable
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


ROLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,62}")
"""Names of roles that need no escapes between quotes: ids of service principals, mail addresses, plain names."""


def grants(role: str, *, database: str, schema: str, exists: bool) -> list[str]:
    """The statements that let a role use a store. `exists` says whether the schema is there already.

    A role that creates the schema owns it, and needs nothing else.

    Raises:
        BadSetting: it is no name of a role.
    """
    if not ROLE.fullmatch(role):
        raise BadSetting("the role must be the client id of a service principal, or the name of a user", param="ROLE")
    statements = [f'GRANT CONNECT, CREATE ON DATABASE {_quoted(database)} TO "{role}"']
    if exists:
        statements += [
            f'GRANT USAGE, CREATE ON SCHEMA {_quoted(schema)} TO "{role}"',
            f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {_quoted(schema)} TO "{role}"',
        ]
    return statements


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def grant_access(database: PostgresDatabase, schema: str, role: str) -> list[str]:
    """Grant a role what it needs, in one transaction. Returns the statements.

    Raises:
        BadSetting: it is no name of a role.
        StoreUnavailable: the database does not answer, has no such role, or the user may not grant this.
    """

    async def work(connection: Connection) -> list[str]:
        [(name, _, owner, _, _)] = await connection.rows(SCHEMA, (schema,))
        statements = grants(role, database=name, schema=schema, exists=owner is not None)
        if not await connection.rows("SELECT 1 FROM pg_roles WHERE rolname = ?", (role,)):
            raise StoreUnavailable(
                f"the database {name} has no role {role}; give the app the database as a `postgres` resource, which"
                " creates its role, and deploy it"
            )
        for statement in statements:
            await connection.run(statement)
        return statements

    await database.open()
    return await database.write(work)


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
