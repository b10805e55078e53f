"""A PostgreSQL database for the benchmark: that of `BENCH_POSTGRES`, or a new server of this machine's PostgreSQL."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from bench.processes import ROOT

POSTGRES = "BENCH_POSTGRES"
"""The variable with the URL of a database that may be written to."""


@contextmanager
def postgres_url() -> Iterator[str | None]:
    """Yield the URL of a database that ends with the block, or `None` if this machine has no PostgreSQL."""
    tests = _server_of_the_tests()
    if url := os.environ.get(POSTGRES):
        yield url
    elif tests.binaries() is None:
        yield None
    else:
        with tests.postgres_server() as server:
            # The tests do without it. A database that keeps its data does not.
            server.execute("ALTER SYSTEM SET fsync = 'on'")
            server.execute("SELECT pg_reload_conf()")
            yield server.url


def _server_of_the_tests() -> ModuleType:
    # By its path, because an installed package may be named `tests` too.
    path = ROOT / "tests" / "stores" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("bench_postgres_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
