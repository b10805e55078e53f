"""The tables of responses, conversations and memories, and the way from each version of them to the next."""

from collections.abc import Awaitable, Callable, Sequence

import orjson

from graph_agent.errors import ConfigurationError
from graph_agent.stores.database import Connection, Database
from graph_agent.stores.sql_rows import as_sought, is_pinned

ROWS_AT_ONCE = 1000
"""Rows that a migration reads at once."""

Step = str | Callable[[Connection], Awaitable[None]]
"""A statement, or what changes rows in a way that SQL cannot."""

VERSION_1 = (
    # `thread` is LangGraph's thread. `running` and `busy_until` are the lease. `lasting` conversations were created by
    # a request of their own and stay when their last response is deleted.
    """CREATE TABLE conversations (
        owner TEXT NOT NULL, id TEXT NOT NULL, thread TEXT NOT NULL, title TEXT, metadata TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, updated_at DOUBLE PRECISION NOT NULL, head TEXT, running TEXT,
        busy_until DOUBLE PRECISION, lasting INTEGER NOT NULL, PRIMARY KEY (owner, id))""",
    "CREATE INDEX conversations_by_time ON conversations (owner, updated_at, id)",
    "CREATE INDEX idle_conversations ON conversations (updated_at)",
    "CREATE INDEX running_conversations ON conversations (running) WHERE running IS NOT NULL",
    # The owner comes first in each key, so that an id of another owner costs exactly what a missing one does.
    # `response` is the response object with an empty output; the items are in their own table.
    """CREATE TABLE responses (
        owner TEXT NOT NULL, id TEXT NOT NULL, conversation TEXT NOT NULL, parent TEXT, kind TEXT NOT NULL,
        graph TEXT NOT NULL, family TEXT NOT NULL, status TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL,
        checkpoint TEXT, whole TEXT, answers TEXT, messages TEXT, response TEXT, PRIMARY KEY (owner, id))""",
    "CREATE INDEX responses_of_conversation ON responses (owner, conversation, created_at, id)",
    "CREATE INDEX responses_by_whole ON responses (owner, whole) WHERE whole IS NOT NULL",
    "CREATE INDEX responses_by_answers ON responses (owner, answers) WHERE answers IS NOT NULL",
    # `side` is `input` or `output`. Clients may choose the ids of input items, so an id may occur more than once.
    """CREATE TABLE items (
        owner TEXT NOT NULL, response TEXT NOT NULL, side TEXT NOT NULL, place INTEGER NOT NULL, id TEXT NOT NULL,
        body TEXT NOT NULL, PRIMARY KEY (owner, response, side, place))""",
    "CREATE INDEX items_by_id ON items (owner, id)",
)

VERSION_2 = (
    # A namespace is its labels, each with a period at its end. `searched` is the text by which a query finds a memory.
    # `vector` is that text's, as 32-bit numbers, from the model `embedder`. SQLite takes any name for a type.
    """CREATE TABLE memories (
        owner TEXT NOT NULL, namespace TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL,
        searched TEXT, embedder TEXT, vector BYTEA, response TEXT, created_at DOUBLE PRECISION NOT NULL,
        updated_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (owner, namespace, key))""",
    "CREATE UNIQUE INDEX memories_by_id ON memories (owner, id)",
    "CREATE INDEX memories_by_time ON memories (owner, created_at, id)",
)

VERSION_3 = (
    # What the graph waits for after this response, as JSON.
    "ALTER TABLE responses ADD COLUMN waiting TEXT",
    # One row for each question to a person. `response` asked it first, `answered_by` brought the decision, and the run
    # of `used_by` has resumed the graph with it.
    """CREATE TABLE approvals (
        owner TEXT NOT NULL, id TEXT NOT NULL, conversation TEXT NOT NULL, response TEXT NOT NULL, body TEXT NOT NULL,
        decision TEXT, answered_by TEXT, used_by TEXT, PRIMARY KEY (owner, id))""",
    "CREATE INDEX approvals_of_conversation ON approvals (owner, conversation)",
)

VERSION_4 = (
    # One row for each run that outlives its connection, or that other processes must find. `attempt` is the right to
    # write. `process` has it until `busy_until`, by the clock of the database. `home` has the token of its user.
    """CREATE TABLE runs (
        owner TEXT NOT NULL, response TEXT NOT NULL, background INTEGER NOT NULL, state TEXT NOT NULL, process TEXT,
        busy_until DOUBLE PRECISION, attempt INTEGER NOT NULL, crashes INTEGER NOT NULL, request TEXT, digest TEXT,
        needs_token INTEGER NOT NULL, home TEXT, seconds DOUBLE PRECISION NOT NULL, accepted_at DOUBLE PRECISION
        NOT NULL, queued_at DOUBLE PRECISION NOT NULL, ends_by DOUBLE PRECISION, ended_at DOUBLE PRECISION,
        cancelled INTEGER NOT NULL, events INTEGER NOT NULL, has_events INTEGER NOT NULL,
        PRIMARY KEY (owner, response))""",
    "CREATE INDEX open_runs ON runs (state, queued_at) WHERE state <> 'ended'",
    "CREATE INDEX ended_runs ON runs (ended_at) WHERE has_events = 1 AND ended_at IS NOT NULL",
    # Events that follow each other, each as JSON on a line. `first` is the number of the first one.
    """CREATE TABLE events (
        owner TEXT NOT NULL, response TEXT NOT NULL, first INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (owner, response, first))""",
    """CREATE TABLE idempotency_keys (
        owner TEXT NOT NULL, key TEXT NOT NULL, digest TEXT NOT NULL, response TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (owner, key))""",
    "CREATE INDEX keys_of_response ON idempotency_keys (owner, response)",
)

VERSION_5 = (
    # The target of the webhook that is sent when the run has ended.
    "ALTER TABLE runs ADD COLUMN webhook TEXT",
    # The last time of each schedule that was dealt with, and the run that began last.
    """CREATE TABLE schedules (
        owner TEXT NOT NULL, name TEXT NOT NULL, tick DOUBLE PRECISION NOT NULL, response TEXT,
        PRIMARY KEY (owner, name))""",
    # One row for each webhook that has not arrived.
    """CREATE TABLE webhook_deliveries (
        owner TEXT NOT NULL, response TEXT NOT NULL, id TEXT NOT NULL, target TEXT NOT NULL, type TEXT NOT NULL,
        created_at DOUBLE PRECISION NOT NULL, due_at DOUBLE PRECISION NOT NULL, tries INTEGER NOT NULL,
        PRIMARY KEY (owner, response))""",
    "CREATE INDEX due_webhook_deliveries ON webhook_deliveries (target, due_at)",
)


async def _find_in_lists(connection: Connection) -> None:
    """Fill the columns of version 6 for the conversations that exist."""
    place = ("", "")
    while found := await connection.rows(
        "SELECT owner, id, title, metadata FROM conversations WHERE (owner, id) > (?, ?) ORDER BY owner, id LIMIT ?",
        (*place, ROWS_AT_ONCE),
    ):
        for owner, id_, title, metadata in found:
            await connection.run(
                "UPDATE conversations SET sought = ?, pinned = ? WHERE owner = ? AND id = ?",
                (as_sought(title), is_pinned(orjson.loads(metadata)), owner, id_),
            )
        place = found[-1][:2]


VERSION_6: Sequence[Step] = (
    # `sought` is the title as `as_sought` folds it: databases disagree about upper and lower case beyond ASCII.
    "ALTER TABLE conversations ADD COLUMN sought TEXT",
    # What `metadata` says about it, for pages of pinned conversations.
    "ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    _find_in_lists,
    "CREATE INDEX pinned_conversations ON conversations (owner, updated_at, id) WHERE pinned = 1",
)

VERSION_7 = (
    # Events and response objects as `packing` writes them. Rows of older versions have them as text, and later ones an
    # empty `body`.
    "ALTER TABLE events ADD COLUMN packed BYTEA",
    "ALTER TABLE responses ADD COLUMN packed BYTEA",
)

VERSION_8 = (
    # The id of the run's trace.
    "ALTER TABLE responses ADD COLUMN trace TEXT",
    # What the owner said about the response, as JSON.
    "ALTER TABLE responses ADD COLUMN feedback TEXT",
)

VERSION_9 = (
    # Who used how many tokens, by day (UTC), as `2026-11-30`. `lost_tokens` are those that calls had reserved whose
    # process is gone.
    """CREATE TABLE usage (
        day TEXT NOT NULL, owner TEXT NOT NULL, graph TEXT NOT NULL, model TEXT NOT NULL, calls BIGINT NOT NULL,
        input_tokens BIGINT NOT NULL, cached_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL, reasoning_tokens
        BIGINT NOT NULL, lost_tokens BIGINT NOT NULL, PRIMARY KEY (day, owner, graph, model))""",
    "CREATE INDEX usage_of_owner ON usage (owner)",
    # What counts against limits in a period: a day, or a minute, as `2026-11-30T18:40`. The owner of what all use
    # together is empty. The row with an empty period is locked by whoever changes any of these four tables.
    """CREATE TABLE limit_counters (
        period TEXT NOT NULL, owner TEXT NOT NULL, requests BIGINT NOT NULL, tokens BIGINT NOT NULL,
        PRIMARY KEY (period, owner))""",
    "INSERT INTO limit_counters (period, owner, requests, tokens) VALUES ('', '', 0, 0)",
    # One row for each model call that is in progress. One that is not renewed until `until`, by the clock of the
    # database, is lost, and counts as a whole.
    """CREATE TABLE reservations (
        id TEXT NOT NULL PRIMARY KEY, day TEXT NOT NULL, owner TEXT NOT NULL, graph TEXT NOT NULL, model TEXT NOT NULL,
        tokens BIGINT NOT NULL, until DOUBLE PRECISION NOT NULL, lost INTEGER NOT NULL)""",
    "CREATE INDEX reservations_of_day ON reservations (day, lost)",
    # By how much a user has raised the own limit of a day, once for each approval.
    """CREATE TABLE limit_grants (
        day TEXT NOT NULL, owner TEXT NOT NULL, id TEXT NOT NULL, tokens BIGINT NOT NULL,
        PRIMARY KEY (day, owner, id))""",
)

VERSION_10 = (
    # What the processes of one store share and nobody else may know, such as the key that seals compacted histories.
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, value BYTEA NOT NULL)",
)

VERSION_11 = (
    # How many steers wait for the response.
    "ALTER TABLE responses ADD COLUMN steers INTEGER NOT NULL DEFAULT 0",
    # One row for each request that steers a response. `successor` has taken its messages, or `failed` says why nobody
    # will.
    """CREATE TABLE steers (
        owner TEXT NOT NULL, id TEXT NOT NULL, response TEXT NOT NULL, place INTEGER NOT NULL, input TEXT NOT NULL,
        size INTEGER NOT NULL, key TEXT, digest TEXT NOT NULL, successor TEXT, failed TEXT,
        created_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (owner, id))""",
    "CREATE UNIQUE INDEX steers_of_response ON steers (owner, response, place)",
    "CREATE UNIQUE INDEX steers_by_key ON steers (owner, key) WHERE key IS NOT NULL",
)

MIGRATIONS: Sequence[Sequence[Step]] = (
    VERSION_1,
    VERSION_2,
    VERSION_3,
    VERSION_4,
    VERSION_5,
    VERSION_6,
    VERSION_7,
    VERSION_8,
    VERSION_9,
    VERSION_10,
    VERSION_11,
)
"""What leads to version 1, 2, and so on. Never change one that was released: append another."""


async def bring_up_to_date(database: Database) -> None:
    """Create the tables, or migrate those of an older version. Safe if several processes do it at once.

    Raises:
        ConfigurationError: a newer version of graph-agent wrote the store.
    """
    await database.migrate(_migrate)


async def _migrate(connection: Connection) -> None:
    await connection.run("CREATE TABLE IF NOT EXISTS graph_agent_schema (version INTEGER NOT NULL)")
    found = await connection.rows("SELECT version FROM graph_agent_schema")
    version = found[0][0] if found else 0
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            "a newer version of graph-agent wrote the store: install that version, or set GRAPH_AGENT_STORE to another "
            "place",
            param="GRAPH_AGENT_STORE",
        )
    for steps in MIGRATIONS[version:]:
        for step in steps:
            if isinstance(step, str):
                await connection.run(step)
            else:
                await step(connection)
    if not found:
        await connection.run("INSERT INTO graph_agent_schema (version) VALUES (?)", (len(MIGRATIONS),))
    elif version < len(MIGRATIONS):
        await connection.run("UPDATE graph_agent_schema SET version = ?", (len(MIGRATIONS),))
