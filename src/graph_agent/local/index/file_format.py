"""The format of an index's SQLite file, the migration from older formats, and explanations of SQLite's errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graph_agent.errors import IndexUnavailable
from graph_agent.local.index.filters import has_words
from graph_agent.local.index.words import INDIC_MARKS, searchable

APPLICATION_ID = 0x67616978
"""Marks a SQLite file as an index. The bytes are "gaix" in ASCII."""

VERSION = 3
"""Increase it with every change of the schema or of `words.searchable`, and add a migration."""

OLDER = (1, 2)
"""Versions that are brought up."""

TOKENIZER = f"porter unicode61 remove_diacritics 2 tokenchars ''{INDIC_MARKS}''"
"""SQLite takes marks for ends of words unless they are named. In the scripts of India they are vowels."""

WORDS = f"""
CREATE VIRTUAL TABLE words USING fts5 (text, content='', tokenize='{TOKENIZER}');
CREATE VIRTUAL TABLE terms USING fts5vocab (words, row);
CREATE TRIGGER words_added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, searchable(new.text));
END;
CREATE TRIGGER words_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, searchable(old.text));
END;
"""
"""The full-text index.

It has no copy of the passages (`content=''`), because it indexes the output of `searchable` and not their text.
Triggers keep it in step with `chunks`.
"""

SCHEMA = f"""
CREATE TABLE files (path TEXT PRIMARY KEY, uri TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL REFERENCES files (path) ON DELETE CASCADE,
    chunk_id TEXT NOT NULL UNIQUE, doc_uri TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
    position INTEGER NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX chunks_of_file ON chunks (file);
{WORDS}
CREATE TABLE generation (number INTEGER NOT NULL);
INSERT INTO generation VALUES (0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""

FROM_OLDER = f"""
DROP TRIGGER words_added;
DROP TRIGGER words_removed;
DROP TABLE IF EXISTS terms;
DROP TABLE words;
{WORDS}
INSERT INTO words (rowid, text) SELECT id, searchable(text) FROM chunks;
UPDATE generation SET number = number + 1;
PRAGMA user_version = {VERSION};
"""
"""Migration from versions 1 and 2. Passages and vectors stay as they are, and only the full-text index is rebuilt."""


OTHER_LANGUAGES = """
CREATE TABLE IF NOT EXISTS other_vectors (
    id INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE, model TEXT NOT NULL, vector BLOB NOT NULL
);
"""
"""The second vectors, each with the name of its model.

In a table of their own, because not every passage has one: those that were indexed by an older program, or without the
second model, get theirs at the next indexing.
"""


def prepare(connection: sqlite3.Connection, name: str) -> bool:
    """Create the schema in an empty file, or migrate an older index. Returns whether the index was an older one.

    Raises `IndexUnavailable` for any other file, and closes the connection then.
    """
    connection.create_function("has_words", 2, has_words, deterministic=True)
    connection.create_function("searchable", 1, searchable, deterministic=True)
    # The write lock comes before the look at the file: two processes may open the same new index.
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        run(connection, SCHEMA)
    known = [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in ("application_id", "user_version")]
    older = known[0] == APPLICATION_ID and known[1] in OLDER
    if older:
        run(connection, FROM_OLDER)
    if older or known == [APPLICATION_ID, VERSION]:
        run(connection, OTHER_LANGUAGES)
    connection.execute("COMMIT")
    if known != [APPLICATION_ID, VERSION] and not older:
        connection.close()
        raise IndexUnavailable(f"{name} is not an index of this version; delete it and run `graph-agent index`.")
    # WAL lets readers continue while another process writes. NORMAL can lose the last commit in a power cut but does
    # not corrupt the file, and the next indexing repeats what was lost.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    # Off by default in SQLite. Deleting a file deletes its chunks through the foreign key.
    connection.execute("PRAGMA foreign_keys = ON")
    return older


def run(connection: sqlite3.Connection, script: str) -> None:
    for statement in statements(script):
        connection.execute(statement)


def statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one. `executescript` would commit the open transaction first."""
    held = ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            yield held
            held = ""


@contextmanager
def explain_sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into `IndexUnavailable` with the file and the cause."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise IndexUnavailable(f"The index file {path} cannot be used: {cause_of(error)}.") from error


def cause_of(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    # Extended codes such as SQLITE_IOERR_WRITE begin with the name of the primary code.
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return next((words for start, words in CAUSES.items() if name.startswith(start)), f"SQLite reports {name}")


REMEDY = "delete it and run `graph-agent index`"
CAUSES = {
    "SQLITE_FULL": "its disk is full; free some space",
    "SQLITE_READONLY": "it is read-only; change its permissions",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_PERM": "access to it is denied; change its permissions",
    "SQLITE_BUSY": "another process is writing to it; try again",
    "SQLITE_IOERR": "its disk failed or is full",
    "SQLITE_CORRUPT": f"it is damaged; {REMEDY}",
    "SQLITE_NOTADB": f"it is not an index; {REMEDY}",
}
