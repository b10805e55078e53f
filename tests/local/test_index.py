import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pypdf
import pytest
from numpy.typing import NDArray
from tests.local.conftest import folder_of
from tests.local.reading import damage, page_with, written

from graph_agent.errors import IndexUnavailable, InvalidRequest
from graph_agent.local import preparation
from graph_agent.local.documents.files import FileNote, Unreadable
from graph_agent.local.index.index import Hit, Index, IndexReport, Progress, QueryType, index_folder

DOCUMENTS = {
    "settings.md": "# Settings\n\n## Timeouts\n\nA request may take thirty seconds.\n\n"
    "## Colours\n\nThe page is blue.\n",
    "errors.md": "# Errors\n\nA request without a token is refused.\n",
    "food.txt": "Sourdough bread needs flour, water and patience.",
}


class RecordingEmbedder(Protocol):
    name: str
    dimension: int
    embedded: list[str]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "docs", DOCUMENTS)


@pytest.fixture
def index(folder: Path, tmp_path: Path, embedder: RecordingEmbedder) -> Index:
    opened = Index.open(tmp_path / "index.db", embedder)
    opened.sync([folder])
    return opened


def report(**outcome: Sequence[Any]) -> IndexReport:
    empty: dict[str, Sequence[Any]] = dict.fromkeys(("added", "changed", "removed", "unchanged", "unreadable"), ())
    return IndexReport(**{key: tuple(value) for key, value in {**empty, **outcome}.items()})


def uris(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.doc_uri for hit in hits]


def test_the_first_indexing_adds_every_document_and_tells_how_far_it_is(
    folder: Path, tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    seen: list[Progress] = []
    made = index_folder([folder], tmp_path / "new" / "index.db", embedder, seen.append)
    assert made == report(added=["docs/errors.md", "docs/food.txt", "docs/settings.md"])
    assert [(at.done, at.uri, at.passages) for at in seen] == [
        (0, "docs/errors.md", 0),
        (0, "docs/errors.md", 1),
        (1, "docs/food.txt", 0),
        (1, "docs/food.txt", 1),
        (2, "docs/settings.md", 0),
        (2, "docs/settings.md", 2),
        (3, "", 0),
    ]


def test_progress_is_told_in_bytes_since_a_large_file_takes_longer(tmp_path: Path, embedder: RecordingEmbedder) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "large.txt").write_text(
        "\n\n".join(f"Line {number} of the text." * 30 for number in range(60))
    )
    (tmp_path / "docs" / "small.txt").write_text("Small.")
    seen: list[Progress] = []
    index_folder([tmp_path / "docs"], tmp_path / "index.db", embedder, seen.append)
    small = next(at for at in seen if at.uri == "docs/small.txt")
    within = [at.share for at in seen if at.uri == "docs/large.txt"]
    assert 0.99 < small.share < 1
    assert within == sorted(set(within))
    assert (within[0], seen[-1].share) == (0, 1)
    assert len(within) > 2


def test_only_what_changed_is_read_again(folder: Path, index: Index, embedder: RecordingEmbedder) -> None:
    embedder.embedded.clear()
    (folder / "food.txt").write_text("Pancakes need eggs.")
    (folder / "errors.md").unlink()
    (folder / "new.md").write_text("# News\n\nFresh.\n")
    assert index.sync([folder]) == report(
        added=["docs/new.md"], changed=["docs/food.txt"], removed=["docs/errors.md"], unchanged=["docs/settings.md"]
    )
    assert embedder.embedded == ["food\n\nPancakes need eggs.", "News\n\nFresh."]
    assert index.search("sourdough", query_type="FULL_TEXT") == []
    assert index.search("token refused", query_type="FULL_TEXT") == []
    assert uris(index.search("pancakes", query_type="FULL_TEXT")) == ["docs/food.txt"]


def test_a_copy_takes_the_vectors_of_its_original(tmp_path: Path, folder: Path, embedder: RecordingEmbedder) -> None:
    for name in ("a", "b"):
        (tmp_path / "copies" / name).mkdir(parents=True)
        (tmp_path / "copies" / name / "settings.md").write_text((folder / "settings.md").read_text())
    with Index.open(tmp_path / "index.db", embedder) as index:
        index.sync([folder, tmp_path / "copies"])
        assert len(embedder.embedded) == len(set(embedder.embedded)) == 4
        found = index.search("what is the timeout?", query_type="ANN")
        originals = [hit.score for hit in found if hit.chunk.doc_uri.startswith("docs/settings.md")]
        copies = [hit.score for hit in found if hit.chunk.doc_uri.startswith("copies/a/settings.md")]
        assert originals[0] > 0
        assert copies == originals


@pytest.mark.parametrize("query_type", ["ANN", "HYBRID", "FULL_TEXT"])
def test_an_index_that_is_searched_between_changes_finds_what_a_new_one_finds(
    folder: Path, tmp_path: Path, index: Index, embedder: RecordingEmbedder, query_type: QueryType
) -> None:
    def found(searched: Index) -> list[tuple[str, float]]:
        hits = searched.search("timeout of sourdough pancakes", query_type=query_type, k=50)
        return sorted((hit.chunk.chunk_id, round(hit.score, 5)) for hit in hits)

    changes = [
        ("food.txt", "Pancakes need eggs."),
        ("more.md", "# Timeout\n\nSourdough takes a day."),
        ("food.txt", "No."),
    ]
    for step, (name, text) in enumerate(changes):
        found(index)
        (folder / name).write_text(text)
        index.sync([folder])
        with Index.open(tmp_path / f"fresh{step}.db", embedder) as fresh:
            fresh.sync([folder])
            assert found(index) == found(fresh) != []


def test_a_word_of_most_passages_is_found_in_just_those_in_each_of_its_forms_and_after_changes(
    tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    def write(document: int, word: str) -> None:
        sections = [f"## Part {part}\n\nPump {part} has {word}.\n" for part in range(150)]
        (many / f"{document}.md").write_text(f"# Document {document}\n\n" + "\n".join(sections))

    def holding(word: str) -> set[str]:
        return {uri.partition("#")[0] for uri in uris(index.search(word, k=5_000, query_type="FULL_TEXT"))}

    many = tmp_path / "many"
    many.mkdir()
    for document in range(10):
        write(document, "no wheels" if document in (3, 7) else "settings")
    with Index.open(tmp_path / "many.db", embedder) as index:
        index.sync([many])
        for form in ("setting", "settings", "Settings"):
            assert holding(form) == {f"many/{one}.md" for one in (0, 1, 2, 4, 5, 6, 8, 9)}
        # Most of all passages, and a gap where the old ones were.
        write(4, "no wheels")
        write(3, "a setting")
        index.sync([many])
        assert holding("settings") == {f"many/{one}.md" for one in (0, 1, 2, 3, 5, 6, 8, 9)}
        assert holding("pump") == {f"many/{one}.md" for one in range(10)}
        [score] = {round(hit.score, 5) for hit in index.search("pump settings", k=100, query_type="FULL_TEXT")}
        assert score == 1.0


def test_passages_with_equal_scores_keep_their_order_however_few_are_asked_for(
    tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    (tmp_path / "same").mkdir()
    for number in range(30):
        (tmp_path / "same" / f"{number:02}.md").write_text("# Pumps\n\nThe pump runs.\n")
    with Index.open(tmp_path / "same.db", embedder) as index:
        index.sync([tmp_path / "same"])
        for k in (1, 7, 29, 30, 99):
            expected = [f"same/{number:02}.md#pumps" for number in range(min(k, 30))]
            assert uris(index.search("pump", k=k)) == expected


def test_another_embedder_means_reading_everything_again(
    folder: Path, tmp_path: Path, index: Index, embedder: RecordingEmbedder
) -> None:
    embedder.name = "other"
    with Index.open(tmp_path / "index.db", embedder) as again:
        assert again.sync([folder]) == report(changed=["docs/errors.md", "docs/food.txt", "docs/settings.md"])


def test_documents_of_other_folders_stay(tmp_path: Path, folder: Path, index: Index) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.md").write_text("# More\n\nThings.\n")
    assert index.sync([tmp_path / "more"]) == report(added=["more/a.md"])
    assert index.files == {
        str(tmp_path / uri): uri for uri in ("docs/errors.md", "docs/food.txt", "docs/settings.md", "more/a.md")
    }


def test_a_deleted_folder_takes_its_documents_along(folder: Path, index: Index) -> None:
    folder.rename(folder.with_name("elsewhere"))
    assert index.sync([folder]) == report(removed=["docs/errors.md", "docs/food.txt", "docs/settings.md"])
    assert len(index) == 0


def test_documents_of_another_folder_that_is_gone_go_too(folder: Path, tmp_path: Path, index: Index) -> None:
    folder.rename(folder.with_name("elsewhere"))
    (tmp_path / "more").mkdir()
    assert index.sync([tmp_path / "more"]).removed == ("docs/errors.md", "docs/food.txt", "docs/settings.md")


def test_a_folder_that_never_was_is_reported(tmp_path: Path, index: Index) -> None:
    unreadable = Unreadable(str(tmp_path / "nowhere"), "no such file or directory")
    assert index.sync([tmp_path / "nowhere"]) == report(unreadable=[unreadable])
    assert len(index) == 4


def test_a_document_that_was_emptied_leaves_the_index(folder: Path, index: Index) -> None:
    (folder / "food.txt").write_text("\n")
    made = index.sync([folder])
    assert made.removed == ("docs/food.txt",)
    assert made.unreadable == (Unreadable(str(folder / "food.txt"), "it contains no text"),)
    assert index.search("sourdough", query_type="FULL_TEXT") == []


def test_a_document_that_is_indexed_in_part_is_noted(folder: Path, index: Index) -> None:
    writer = pypdf.PdfWriter()
    for line in (b"Lions sleep.", b"Tigers swim."):
        page_with(writer, [line])
    damage(writer, writer.pages[1])
    (folder / "cats.pdf").write_bytes(written(writer))
    made = index.sync([folder])
    assert (made.added, made.unreadable) == (("docs/cats.pdf",), ())
    assert made.notes == (FileNote(str(folder / "cats.pdf"), "damaged and not fully read: page 2"),)
    assert "indexed in part" in "\n".join(preparation.summary("main.a.b", made, 4, 5, was_older=False))
    assert index.sync([folder]).notes == ()


def test_hidden_documents_are_counted_and_read_when_asked_for(folder: Path, index: Index) -> None:
    (folder / ".notes").mkdir()
    (folder / ".notes" / "a.md").write_text("Penguins swim.")
    assert index.sync([folder]).skipped.hidden_folders == 1
    assert index.sync([folder], hidden=True).added == ("docs/.notes/a.md",)
    assert index.sync([folder]).removed == ("docs/.notes/a.md",)


def test_a_folder_that_moved_takes_the_place_of_the_old_one(folder: Path, tmp_path: Path, index: Index) -> None:
    (tmp_path / "new").mkdir()
    moved = folder.rename(tmp_path / "new" / "docs")
    assert index.sync([moved]).added == ("docs/errors.md", "docs/food.txt", "docs/settings.md")
    assert len(index) == 4


def test_a_document_of_a_name_that_is_taken_is_reported(folder: Path, tmp_path: Path, index: Index) -> None:
    rival = tmp_path / "other" / "docs" / "food.txt"
    rival.parent.mkdir(parents=True)
    rival.write_text("Rice.")
    reason = f"{folder / 'food.txt'} already has the name docs/food.txt in this index; rename a folder"
    assert index.sync([rival.parent]) == report(unreadable=[Unreadable(str(rival), reason)])


def test_a_document_that_became_unreadable_keeps_its_last_good_content(folder: Path, index: Index) -> None:
    (folder / "food.txt").write_bytes(b"\x00\x00")
    unreadable = Unreadable(str(folder / "food.txt"), "it contains binary data, not text")
    assert index.sync([folder]).unreadable == (unreadable,)
    assert uris(index.search("sourdough")) == ["docs/food.txt"]


def test_an_interrupted_indexing_keeps_what_was_finished_and_the_next_one_goes_on(
    folder: Path, tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.uri == "docs/settings.md" and progress.passages:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_folder([folder], tmp_path / "index.db", embedder, interrupt)
    with Index.open(tmp_path / "index.db", embedder) as index:
        assert len(index) == 2
        assert index.sync([folder]) == report(added=["docs/settings.md"], unchanged=["docs/errors.md", "docs/food.txt"])


@pytest.mark.parametrize("query_type", ["ANN", "HYBRID", "FULL_TEXT"])
def test_a_search_finds_the_best_passage_first_in_every_way_of_searching(index: Index, query_type: Any) -> None:
    hits = index.search("How many seconds may a request take?", k=2, query_type=query_type)
    assert uris(hits) == ["docs/settings.md#timeouts", "docs/errors.md#errors"]
    assert 1.0 >= hits[0].score > hits[1].score > 0.0


def test_words_are_found_in_any_of_their_forms(index: Index) -> None:
    assert uris(index.search("requests refusing tokens", k=1, query_type="FULL_TEXT")) == ["docs/errors.md#errors"]


def test_a_passage_that_holds_every_word_of_the_query_scores_1_by_words(index: Index) -> None:
    [hit] = index.search("sourdough flour", query_type="FULL_TEXT")
    assert hit.score == pytest.approx(1.0)


def test_the_hybrid_score_is_the_mean_of_meaning_and_words(index: Index) -> None:
    query = "sourdough flour"
    ways: tuple[Any, ...] = ("ANN", "FULL_TEXT", "HYBRID")
    meaning, words, both = (index.search(query, k=1, query_type=way)[0].score for way in ways)
    assert both == pytest.approx((meaning + words) / 2)


def test_of_two_passages_that_fit_alike_the_one_on_a_page_about_the_subject_comes_first(
    tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    about = "# Bread\n\n## Loaf\n\nSourdough rises slowly.\n\n## Dough\n\nSourdough and flour are mixed.\n"
    aside = "# Travel\n\n## Loaf\n\nSourdough rises slowly.\n\n## Trains\n\nThe station opens early.\n"
    for name, text in {"a-travel.md": aside, "bread.md": about}.items():
        (tmp_path / name).write_text(text)
    with Index.open(tmp_path / "index.db", embedder) as index:
        index.sync([tmp_path / "a-travel.md", tmp_path / "bread.md"])
        for changed in (False, True):
            hits = index.search("sourdough rises slowly", k=2)
            assert [hit.chunk.doc_uri.partition("#")[0] for hit in hits] == ["bread.md", "a-travel.md"], changed
            # Also after a change, when the vectors of the other documents are not read again.
            (tmp_path / "a-travel.md").write_text(aside + "\n## Buses\n\nNone.\n")
            index.sync([tmp_path / "a-travel.md", tmp_path / "bread.md"])


def test_a_query_about_something_else_scores_low(index: Index) -> None:
    assert index.search("capital of Mongolia", min_score=0.3) == []
    assert index.search("the of and", query_type="FULL_TEXT") == []


def test_a_query_of_quotes_and_operators_is_only_words(index: Index) -> None:
    assert uris(index.search('"bread" AND (flour OR* NEAR/2) -- ;', k=1, query_type="FULL_TEXT")) == ["docs/food.txt"]


def test_a_vector_searches_without_text(index: Index, embedder: RecordingEmbedder) -> None:
    vector = (3 * embedder.embed(["food\n\nSourdough bread needs flour, water and patience."])[0]).tolist()
    [hit] = index.search(vector=vector, k=1, query_type="ANN")
    assert hit.chunk.doc_uri == "docs/food.txt"
    assert hit.score == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"doc_uri": "docs/food.txt"}, ["docs/food.txt"]),
        ({"doc_uri": ["docs/food.txt", "docs/errors.md#errors"]}, ["docs/errors.md#errors", "docs/food.txt"]),
        (
            {"doc_uri NOT": "docs/food.txt"},
            ["docs/errors.md#errors", "docs/settings.md#colours", "docs/settings.md#timeouts"],
        ),
        ({"doc_uri NOT": ["docs/food.txt", "docs/errors.md#errors"], "position <": 1}, ["docs/settings.md#timeouts"]),
        ({"position >=": 1}, ["docs/settings.md#colours"]),
        ({"text LIKE": "page"}, ["docs/settings.md#colours"]),
        ({"text LIKE": ["page", "bread"]}, ["docs/food.txt", "docs/settings.md#colours"]),
        ({"text LIKE": "brea"}, []),
        ({"doc_uri OR position": ["docs/food.txt", 1]}, ["docs/food.txt", "docs/settings.md#colours"]),
        ({"title": []}, []),
    ],
)
def test_filters_follow_vector_search(index: Index, filters: dict[str, Any], expected: list[str]) -> None:
    assert sorted(uris(index.search("a the request page bread", query_type="ANN", filters=filters))) == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"colour": "blue"},
        {"title ~": "x"},
        {"title": None},
        {"title": {"a": 1}},
        {"position <": [1]},
        {"title OR text": ["only one"]},
        {"title": ["x"] * 501},
        {"1=1; DROP TABLE chunks; --": "x"},
    ],
)
def test_a_filter_that_cannot_be_answered_is_refused(index: Index, filters: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        index.search("page", filters=filters)
    assert refused.value.param == "filters_json"


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({"query_type": "HYBRID"}, "query_text"),
        ({"query_type": "FULL_TEXT", "vector": [1.0]}, "query_text"),
        ({"query_type": "ANN", "vector": [1.0, 2.0]}, "query_vector"),
    ],
)
def test_a_query_without_what_it_needs_is_refused(index: Index, arguments: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        index.search(**arguments)
    assert refused.value.param == param


def test_an_open_index_sees_what_another_process_indexes(
    folder: Path, tmp_path: Path, index: Index, embedder: RecordingEmbedder
) -> None:
    assert index.search("penguins", query_type="FULL_TEXT") == []
    (folder / "birds.md").write_text("# Birds\n\nPenguins swim.\n")
    index_folder([folder], tmp_path / "index.db", embedder)
    assert uris(index.search("penguins swim", k=1)) == ["docs/birds.md#birds"]


def test_searches_from_many_threads_during_an_indexing_see_whole_documents(
    folder: Path, tmp_path: Path, index: Index, embedder: RecordingEmbedder
) -> None:
    counts: list[int] = []

    def search() -> None:
        for _ in range(20):
            counts.append(len(index.search("settings request page", k=50, query_type="ANN", filters=SETTINGS_ONLY)))

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(10):
        (folder / "settings.md").write_text(DOCUMENTS["settings.md"].replace("blue", f"blue {turn}"))
        index_folder([folder], tmp_path / "index.db", embedder)
    for thread in threads:
        thread.join()
    assert counts == [2] * 80


SETTINGS_ONLY = {"doc_uri": ["docs/settings.md#timeouts", "docs/settings.md#colours"]}


def test_a_missing_index_says_how_to_make_one(tmp_path: Path, embedder: RecordingEmbedder) -> None:
    with pytest.raises(IndexUnavailable, match="run `graph-agent index` first"):
        Index.open(tmp_path / "index.db", embedder, create=False)


def test_a_file_that_is_no_index_is_refused_and_left_as_it_was(tmp_path: Path, embedder: RecordingEmbedder) -> None:
    (tmp_path / "text.db").write_text("not a database at all, but long enough to be looked at " * 10)
    with pytest.raises(IndexUnavailable):
        Index.open(tmp_path / "text.db", embedder)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE mine (value)")
    foreign.close()
    before = (tmp_path / "foreign.db").read_bytes()
    with pytest.raises(IndexUnavailable, match=r"foreign.db is not an index of this version"):
        Index.open(tmp_path / "foreign.db", embedder)
    assert (tmp_path / "foreign.db").read_bytes() == before


def test_a_full_disk_is_told_with_the_file_and_the_cause(folder: Path, tmp_path: Path, index: Index) -> None:
    # The same error of SQLite that a full disk gives.
    index._store._connection.execute("PRAGMA max_page_count = 1")
    (folder / "long.txt").write_text("A sentence of some length that is to be indexed.\n\n" * 2000)
    with pytest.raises(IndexUnavailable) as refused:
        index.sync([folder])
    assert (
        refused.value.message
        == f"The index file {tmp_path / 'index.db'} cannot be used: its disk is full; free some space."
    )
    assert uris(index.search("sourdough", k=1)) == ["docs/food.txt"]


def test_a_folder_that_may_not_be_made_is_told_with_its_path(tmp_path: Path, embedder: RecordingEmbedder) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IndexUnavailable, match=r"file/indexes/a.db cannot be used: (not a directory|file exists)"):
        Index.open(tmp_path / "file" / "indexes" / "a.db", embedder)


OLDER = """
CREATE TABLE files (path TEXT PRIMARY KEY, uri TEXT NOT NULL UNIQUE, fingerprint TEXT NOT NULL);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL REFERENCES files (path) ON DELETE CASCADE,
    chunk_id TEXT NOT NULL UNIQUE, doc_uri TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
    position INTEGER NOT NULL, vector BLOB NOT NULL
);
CREATE INDEX chunks_of_file ON chunks (file);
CREATE VIRTUAL TABLE words USING fts5 (text, content='chunks', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER words_added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER words_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
CREATE TABLE generation (number INTEGER NOT NULL);
INSERT INTO generation VALUES (0);
PRAGMA application_id = 1734437240;
PRAGMA user_version = 1;
"""
"""The format before words without blanks were searched."""


def test_an_index_of_the_older_format_is_brought_up_and_keeps_its_documents(
    folder: Path, tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    (folder / "leave.txt").write_text("有給休暇は年に二十日あります。")
    older = sqlite3.connect(tmp_path / "older.db")
    older.executescript(OLDER)
    older.execute("INSERT INTO files VALUES (?, 'docs/leave.txt', 'x')", [str(folder / "leave.txt")])
    vector = embedder.embed(["leave"])[0].tobytes()
    text = "leave\n\n有給休暇は年に二十日あります。"
    row = (str(folder / "leave.txt"), "c1", "docs/leave.txt", "leave", text, 0, vector)
    columns = "file, chunk_id, doc_uri, title, text, position, vector"
    older.execute(f"INSERT INTO chunks ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    older.commit()
    older.close()
    with Index.open(tmp_path / "older.db", embedder) as index:
        assert index.was_older
        assert uris(index.search("休暇", query_type="FULL_TEXT")) == ["docs/leave.txt"]
        assert index.sync([folder]).changed == ("docs/leave.txt",)
    with Index.open(tmp_path / "older.db", embedder) as index:
        assert not index.was_older
        assert uris(index.search("休暇", query_type="FULL_TEXT")) == ["docs/leave.txt"]


def test_an_index_from_before_the_stems_of_arabic_is_brought_up(
    folder: Path, tmp_path: Path, embedder: RecordingEmbedder
) -> None:
    (folder / "parts.txt").write_text("\u0627\u0644\u0645\u0643\u0648\u0646\u0627\u062a")
    with Index.open(tmp_path / "older.db", embedder) as index:
        index.sync([folder])
    older = sqlite3.connect(tmp_path / "older.db")
    older.executescript("""
        DROP TABLE terms;
        DROP TABLE words;
        CREATE VIRTUAL TABLE words USING fts5 (text, content='', tokenize='porter unicode61 remove_diacritics 2');
        CREATE VIRTUAL TABLE terms USING fts5vocab (words, row);
        INSERT INTO words (rowid, text) SELECT id, text FROM chunks;
        PRAGMA user_version = 2;
    """)
    older.close()
    with Index.open(tmp_path / "older.db", embedder) as index:
        assert index.was_older
        assert uris(index.search("\u0645\u0643\u0648\u0646", query_type="FULL_TEXT")) == ["docs/parts.txt"]
        assert set(index.sync([folder]).unchanged) >= {"docs/parts.txt"}
