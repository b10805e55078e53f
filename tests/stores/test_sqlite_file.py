"""What is special about a store in a SQLite file: who can read it, what can go wrong with it, and who shares it."""

import asyncio
import os
import sqlite3
import stat
import sys
import textwrap
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, Clock, Turns, message

from graph_agent.errors import ConfigurationError, ConversationBusy, StoreUnavailable
from graph_agent.stores.records import Page
from graph_agent.stores.schema import bring_up_to_date
from graph_agent.stores.sql_conversations import SqlConversations
from graph_agent.stores.sql_runs import SqlRuns
from graph_agent.stores.sqlite_database import SqliteDatabase
from graph_agent.stores.sqlite_store import SqliteStore

pytestmark = pytest.mark.anyio

PROJECT = Path(__file__).parents[2]

WORKER = textwrap.dedent("""
    import asyncio, sys, time
    from pathlib import Path
    from graph_agent.identity.owner import Owner
    from graph_agent.stores.records import Continuation, EndedResponse, NewResponse
    from graph_agent.stores.sqlite_store import SqliteStore

    async def converse(responses, name):
        ann, parent = Owner("ann"), None
        for number in range(5):
            id = f"{name}_{number}"
            at = Continuation(conversation=name, thread=f"thread_{name}", parent=parent, is_new=parent is None)
            new = NewResponse(
                id=id, continuation=at, graph="g", family="openai", created_at=time.time(), input=[{"id": f"in_{id}"}]
            )
            await responses.begin(ann, new, busy_until=time.time() + 100)
            ended = EndedResponse(status="completed", response={"output": [{"id": f"out_{id}"}]}, checkpoint=None)
            await responses.finish(ann, id, ended)
            parent = id

    async def main(path, name):
        store = SqliteStore(Path(path))
        print("ready", flush=True)
        sys.stdin.readline()
        await store.open()
        await asyncio.gather(*(converse(store.responses, f"{name}_{number}") for number in range(10)))
        await store.aclose()

    asyncio.run(main(*sys.argv[1:]))
""")
"""A process that holds ten conversations at once."""


DYING = textwrap.dedent("""
    import asyncio, sys, time
    from pathlib import Path
    from graph_agent.identity.owner import Owner
    from graph_agent.stores.records import Continuation, NewResponse
    from graph_agent.stores.sqlite_database import SqliteDatabase
    from graph_agent.stores.sqlite_store import SqliteStore

    async def main(path):
        store = SqliteStore(Path(path))
        await store.open()
        at = Continuation(conversation="conv_1", thread="thread_1", is_new=True)
        new = NewResponse(id="resp_1", continuation=at, graph="g", family="openai", created_at=time.time(), input=[])
        await store.responses.begin(Owner("ann"), new, busy_until=time.time() + 10)
        database = SqliteDatabase(Path(path))
        await database.open()

        async def work(connection):
            await connection.run("UPDATE responses SET status = 'completed'")
            print("in the middle of a transaction", flush=True)
            time.sleep(600)

        await database.write(work)

    asyncio.run(main(*sys.argv[1:]))
""")
"""A process that holds a conversation, and is killed while it writes."""


async def checkpoints_stay(connection: Any, thread: str) -> int:
    """The tests that use this have no savers."""
    return 0


async def test_only_its_owner_can_read_the_file(sqlite_store_of: StoreOf, clock: Clock, tmp_path: Path) -> None:
    store = sqlite_store_of()
    await store.open()
    await Turns(store, clock).turn("resp_1")
    files = sorted((tmp_path / "store").iterdir())
    assert [file.suffix for file in files] == [".sqlite", ".sqlite-shm", ".sqlite-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    await store.aclose()
    # All of it is in one file again, which can be copied.
    assert [file.name for file in (tmp_path / "store").iterdir()] == ["conversations.sqlite"]


async def test_deleted_words_are_not_in_the_file_any_more(
    sqlite_store_of: StoreOf, clock: Clock, tmp_path: Path
) -> None:
    path, left = tmp_path / "store" / "conversations.sqlite", []
    for deleted in (False, True):
        store = sqlite_store_of()
        await store.open()
        if not deleted:
            turns = Turns(store, clock)
            await turns.begin("resp_1", input=[message("a very secret word " * 1000)], title="secret words")
            await turns.finish("resp_1", output=[message("another secret word")])
        else:
            await store.responses.delete(ANN, "resp_1")
        await store.aclose()
        left.append(path.read_bytes().count(b"secret word"))
    assert left[0] > 900
    assert left[1] == 0


async def test_processes_that_start_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "conversations.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    workers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WORKER, str(path), name), env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        for name in ("a", "b", "c")
    ]
    for worker in workers:
        assert worker.stdout is not None
        await worker.stdout.readline()
    # Now all of them create the file at once.
    ends = await asyncio.gather(*(worker.communicate(b"go\n") for worker in workers))
    assert [(worker.returncode, errors) for worker, (_, errors) in zip(workers, ends, strict=True)] == [(0, b"")] * 3
    store = SqliteStore(path)
    await store.open()
    for name in ("a", "b", "c"):
        for number in range(10):
            conversation = f"{name}_{number}"
            expected = [f"{conversation}_{turn}" for turn in range(5)]
            lineage = await store.responses.lineage(ANN, expected[-1])
            assert [one.id for one in lineage if one.status == "completed"] == expected
            assert [one.output[0]["id"] for one in lineage] == [f"out_{id_}" for id_ in expected]
    found, more = await store.responses.conversations(ANN, Page(limit=100))
    await store.aclose()
    assert (len(found), more) == (30, False)


VISITOR = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from graph_agent.stores.sqlite_store import SqliteStore

    async def main(path):
        store = SqliteStore(Path(path))
        await store.open()
        await store.aclose()

    asyncio.run(main(*sys.argv[1:]))
""")
"""A process that opens the store and leaves."""


async def test_a_second_app_in_a_process_does_not_take_the_locks_of_the_first(
    sqlite_store_of: StoreOf, clock: Clock, tmp_path: Path
) -> None:
    first, second = sqlite_store_of(), sqlite_store_of()
    await first.open()
    await Turns(first, clock).turn("resp_1")
    log = tmp_path / "store" / "conversations.sqlite-wal"
    before = log.stat().st_ino
    await second.open()
    await second.aclose()
    # The last process that leaves removes the log. Without a lock, this one would be the last, and everything that the
    # first store writes from then on would be lost, or damage the file.
    visitor = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", VISITOR, str(log.with_name("conversations.sqlite"))),
        env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
    )
    assert await visitor.wait() == 0
    assert log.stat().st_ino == before
    await first.aclose()


async def test_a_process_that_is_killed_while_it_writes_leaves_nothing_half_written_and_frees_its_conversation(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "conversations.sqlite"
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DYING, str(path)), env={**os.environ, "PYTHONPATH": str(PROJECT / "src")}, stdout=PIPE
    )
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"in the middle of a transaction\n"
    worker.kill()
    await worker.wait()
    clock.now = time.time()
    store = SqliteStore(path, clock=clock)
    await store.open()
    assert (await store.responses.get(ANN, "resp_1")).status == "in_progress"
    turns = Turns(store, clock)
    turns.known, turns.thread = True, "thread_1"
    with pytest.raises(ConversationBusy):
        await turns.begin("resp_2")
    clock.now += 10
    assert (await turns.turn("resp_2")).status == "completed"
    assert (await store.responses.get(ANN, "resp_1")).status == "failed"
    await store.aclose()


# -- what can go wrong at the start -----------------------------------------------------------------------------------


async def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as error:
        await SqliteStore(path).open()
    assert error.value.param == "GRAPH_AGENT_STORE"
    return error.value.message


async def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and no database at all.\n" * 100)
    message = await refused(path)
    assert str(path) in message
    assert "not a SQLite database" in message
    assert path.read_text().startswith("These are my notes")


async def test_a_damaged_file_is_refused_by_name(sqlite_store_of: StoreOf, clock: Clock, tmp_path: Path) -> None:
    store = sqlite_store_of()
    await store.open()
    await Turns(store, clock).turn("resp_1")
    await store.aclose()
    path = tmp_path / "store" / "conversations.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * 4000 + whole[4100:])
    message = await refused(path)
    assert str(path) in message
    assert "damaged" in message
    assert "backup" in message


async def test_a_folder_in_place_of_a_file_is_refused_by_name(tmp_path: Path) -> None:
    assert str(tmp_path) in await refused(tmp_path)


async def test_a_path_below_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "store.sqlite") in await refused(tmp_path / "file" / "store.sqlite")


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(sqlite_store_of: StoreOf, tmp_path: Path) -> None:
    store = sqlite_store_of()
    await store.open()
    await store.aclose()
    path = tmp_path / "store" / "conversations.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE graph_agent_schema SET version = 1000")
    connection.close()
    assert "newer version" in await refused(path)


async def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE conversations (id INTEGER)")
    connection.close()
    assert "another program" in await refused(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
    connection.close()


# -- what can go wrong later ------------------------------------------------------------------------------------------

Break = Callable[[sqlite3.Connection], Any]


def full(connection: sqlite3.Connection) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def mended(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA max_page_count = 1000000")
    connection.execute("PRAGMA query_only = OFF")


@pytest.mark.parametrize(("broken", "words"), [(full, "free space"), (read_only, "writable")])
async def test_a_disk_that_cannot_be_written_is_explained_and_leaves_nothing_half_written(
    tmp_path: Path, clock: Clock, broken: Break, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "conversations.sqlite"
    database = SqliteDatabase(path)
    await database.open()
    await bring_up_to_date(database)
    responses = SqlConversations(database, runs=SqlRuns(database), delete_checkpoints=checkpoints_stay, clock=clock)
    turns = Turns(SimpleNamespace(responses=responses), clock)
    await turns.turn("resp_1")
    await database.writer.use(broken)
    with pytest.raises(StoreUnavailable) as error:
        await turns.begin("resp_2", after="resp_1", input=[message("many words " * 100_000)])
    # A client reads this, so it names the setting and not the path. The log has both.
    assert words in error.value.message
    assert "GRAPH_AGENT_STORE" in error.value.message
    assert str(path) not in str(error.value.body())
    assert str(path) in caplog.text
    assert (await responses.get(ANN, "resp_1")).status == "completed"
    await database.writer.use(mended)
    assert (await turns.turn("resp_2", after="resp_1")).status == "completed"
    await database.aclose()


async def test_work_that_waits_for_something_else_than_the_database_is_a_mistake_and_is_undone(clock: Clock) -> None:
    database = SqliteDatabase(None)
    await database.open()
    await bring_up_to_date(database)

    async def work(connection: Any) -> None:
        await connection.run("DELETE FROM graph_agent_schema")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="other than its connection"):
        await database.write(work)
    await bring_up_to_date(database)
    await database.aclose()


async def test_a_request_that_leaves_does_not_break_the_next_one(store_of: StoreOf, clock: Clock) -> None:
    store = store_of()
    await store.open()
    turns = Turns(store, clock)
    await turns.turn("resp_1")
    leaving = [asyncio.create_task(turns.begin(f"resp_x{number}", after="resp_1")) for number in range(5)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    other = Turns(store, clock, "conv_2")
    assert (await other.turn("resp_2")).status == "completed"
    await store.aclose()


async def test_a_closed_store_says_so_and_can_be_opened_again(store_of: StoreOf, clock: Clock) -> None:
    store = store_of()
    await store.open()
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.responses.get(ANN, "resp_1")
    await store.aclose()
    await store.open()
    assert (await Turns(store, clock).turn("resp_1")).status == "completed"
    await store.aclose()
