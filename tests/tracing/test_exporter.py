"""The exporter's promises to the request path: it never waits, never raises, and stops in time."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from tests.tracing.scripted import answer

from graph_agent.app_context import AppContext, current_settings
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.settings import Settings
from graph_agent.tracing import RunRecord, RunRecorder, TraceExporter
from graph_agent.tracing.trace_store import RecordRefused, StoreUnavailable


def finished_run(name: str = "assistant") -> RunRecord:
    return RunRecorder(graph=name, inputs={"messages": []}).close(outputs=answer("done"))


class MemoryStore:
    """Keeps what it is given; closed until `gate` is set."""

    def __init__(self, *, refuse: str = "", failures: int = 0) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []
        self.failures = failures
        self._refuse = refuse

    def write(self, records: Sequence[RunRecord]) -> None:
        self.entered.set()
        assert self.gate.wait(5)
        names = [record.root.name for record in records]
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("HTTP 503")
        if self._refuse in names:
            raise RecordRefused("HTTP 422")
        self.batches.append(names)

    def close(self) -> None:
        pass


def exporter_to(store: MemoryStore, *, queue_size: int = 1000) -> TraceExporter:
    return TraceExporter(None, "tests", queue_size, environ={}, opener=lambda: store)


def test_runs_that_end_together_are_stored_in_one_batch() -> None:
    store = MemoryStore()
    exporter = exporter_to(store)

    for name in ("a", "b", "c"):
        exporter.submit(finished_run(name))

    assert exporter.flush(5)
    assert store.batches == [["a", "b", "c"]]


def test_flushing_with_nothing_to_do_needs_no_store() -> None:
    def opener() -> MemoryStore:
        raise AssertionError("opened")

    assert TraceExporter(None, "tests", environ={}, opener=opener).flush(0.1)


def test_a_full_queue_drops_the_oldest_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    exporter = exporter_to(store, queue_size=2)
    store.gate.clear()
    exporter.submit(finished_run("under way"))
    exporter.flush(0)
    assert store.entered.wait(5)

    for name in ("a", "b", "c", "d"):
        exporter.submit(finished_run(name))
    store.gate.set()

    assert exporter.flush(5)
    assert store.batches == [["under way"], ["c", "d"]]
    assert exporter.lost == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the queue of the trace store is full; 1 traces lost so far"
    ]


def test_one_bad_trace_does_not_take_its_batch_along(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(refuse="bad")
    exporter = exporter_to(store)

    for name in ("a", "bad", "b"):
        exporter.submit(finished_run(name))

    assert exporter.flush(5)
    assert store.batches == [["a"], ["b"]]
    assert exporter.lost == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the trace store refused a trace (HTTP 422); 1 traces lost so far"
    ]


def test_what_a_store_does_not_take_now_is_written_later() -> None:
    store = MemoryStore(failures=1)
    exporter = exporter_to(store)

    exporter.submit(finished_run("a"))

    assert exporter.flush(5)
    assert (store.batches, exporter.lost) == ([["a"]], 0)


def test_a_store_that_cannot_be_opened_is_tried_again() -> None:
    store, tries = MemoryStore(), iter([StoreUnavailable("HTTP 503"), OSError("password=hunter2")])

    def opener() -> MemoryStore:
        for error in tries:
            raise error
        return store

    exporter = TraceExporter(None, "tests", environ={}, opener=opener)
    exporter.submit(finished_run("a"))

    assert exporter.flush(5)
    assert store.batches == [["a"]]


def test_a_new_local_file_that_is_being_made_gets_more_time_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    store, opening, closing = MemoryStore(), threading.Event(), threading.Event()

    def opener() -> MemoryStore:
        opening.set()
        # Until `close` has waited for its own time in vain.
        assert closing.wait(20)
        return store

    exporter = TraceExporter("sqlite:///traces.db", "tests", environ={}, opener=opener)
    exporter.submit(finished_run("a"))
    assert opening.wait(20)
    flush = exporter.flush

    def flushed(timeout_seconds: float) -> bool:
        done = flush(timeout_seconds)
        closing.set()
        return done

    monkeypatch.setattr(exporter, "flush", flushed)
    exporter.close(0.01)

    assert (store.batches, exporter.lost) == ([["a"]], 0)


def test_a_store_whose_imports_wait_for_others_gets_more_time_at_the_end(hanging_server: str) -> None:
    exporter = TraceExporter(hanging_server, "tests", environ={})
    with IMPORT_LOCK:
        exporter.submit(finished_run())
        closing = threading.Thread(target=exporter.close, args=(0.1,))
        closing.start()
        closing.join(1)
        assert closing.is_alive()
    closing.join(10)
    assert not closing.is_alive()


def test_a_store_gets_more_time_at_the_end_for_its_first_trace_and_for_no_other() -> None:
    """Imports of the workspace's store happen when it writes its first trace."""
    store = MemoryStore()
    exporter = exporter_to(store)
    store.gate.clear()
    exporter.submit(finished_run("first"))
    assert store.entered.wait(20)
    closing = threading.Thread(target=exporter.close, args=(0.01,))
    closing.start()
    closing.join(0.5)
    assert closing.is_alive()
    store.gate.set()
    closing.join(20)
    assert (store.batches, exporter.lost) == ([["first"]], 0)

    exporter = exporter_to(store)
    exporter.submit(finished_run("second"))
    assert exporter.flush(20)
    store.gate.clear()
    store.entered.clear()
    exporter.submit(finished_run("third"))
    assert store.entered.wait(20)
    exporter.close(0.01)
    store.gate.set()
    assert exporter.lost == 1


def test_a_stranger_s_exception_message_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def opener() -> MemoryStore:
        raise OSError("password=hunter2")

    exporter = TraceExporter(None, "tests", environ={}, opener=opener)
    exporter.submit(finished_run())
    exporter.close(0.2)

    assert [record.getMessage() for record in caplog.records] == [
        "the trace store cannot be opened (OSError); 0 traces lost so far",
        "1 traces lost at shutdown: the trace store did not accept them in time",
    ]


def test_nothing_is_taken_after_closing() -> None:
    store = MemoryStore()
    exporter = exporter_to(store)
    exporter.submit(finished_run("a"))
    exporter.close(5)

    exporter.submit(finished_run("late"))
    exporter.close(5)

    assert (store.batches, exporter.lost) == ([["a"]], 0)


@pytest.fixture
def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("server", ["closed_port", "hanging_server"])
def test_a_dead_or_hanging_server_delays_neither_runs_nor_stopping(
    server: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="graph_agent")
    exporter = TraceExporter(request.getfixturevalue(server), "tests", queue_size=50, environ={})
    began = time.monotonic()

    for _ in range(200):
        exporter.submit(finished_run())
    flushed = exporter.flush(0.2)
    exporter.close(0.5)

    assert not flushed
    # Sending one trace alone would wait for the server for longer.
    assert time.monotonic() - began < 20
    assert exporter.lost == 200
    assert caplog.messages[-1] == "50 traces lost at shutdown: the trace store did not accept them in time"


ENDS_WITHOUT_CLOSING = """
import sys
from graph_agent.tracing import RunRecorder, TraceExporter
exporter = TraceExporter(sys.argv[1], "tests", environ={})
exporter.submit(RunRecorder(graph="assistant", inputs=None).close())
assert not exporter.flush(0.2)
"""


def test_an_interpreter_that_forgets_to_close_ends_nevertheless(hanging_server: str) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", ENDS_WITHOUT_CLOSING, hanging_server]
    ended = subprocess.run(command, env=environ, timeout=30, check=False)

    assert ended.returncode == 0


def test_the_store_is_opened_with_the_settings_of_the_exporters_app() -> None:
    app, seen = AppContext(Settings(index="main.docs.mine")), []

    def opener() -> MemoryStore:
        seen.append(current_settings().index)
        return MemoryStore()

    exporter = TraceExporter(None, "tests", environ={}, opener=opener, app=app)
    exporter.submit(finished_run())
    assert exporter.flush(10)
    exporter.close(10)
    assert seen == ["main.docs.mine"]
