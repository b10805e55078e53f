"""Aegra, a server with the API of LangGraph's own and a PostgreSQL database, on the graph of the benchmark.

It runs in an environment of its own. Source: aegra-api 0.6.0.
"""

import json
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

GRAPH = Path(__file__).parents[1] / "scripted.py"

DATABASE = "bench_aegra"
"""A database of its own on the same server, because its tables have the names of LangGraph's."""


def main() -> None:
    """Make its database, write its list of graphs, and become that server. The arguments are passed on."""
    config = Path("aegra.json")
    config.write_text(json.dumps({"graphs": {"scripted": f"{GRAPH}:graph"}}), encoding="utf-8")
    given = urlsplit(os.environ["BENCH_DATABASE"])
    # Its two drivers name parameters of a URL differently, but both read this variable.
    os.environ["PGSSLMODE"] = parse_qs(given.query).get("sslmode", ["prefer"])[0]
    _make_database(os.environ["BENCH_DATABASE"])
    os.environ["DATABASE_URL"] = urlunsplit((given.scheme, given.netloc, f"/{DATABASE}", "", ""))
    os.environ["AEGRA_CONFIG"] = str(config)
    # As of the other servers, which have no log of requests. Its own level is a log line for each step of a run.
    os.environ["LOG_LEVEL"] = "WARNING"
    started = ("-m", "uvicorn", "aegra_api.main:app", "--host", "127.0.0.1", "--log-level", "warning")
    os.execv(sys.executable, [sys.executable, *started, *sys.argv[1:]])


def _make_database(url: str) -> None:
    # Of its environment.
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
        if found is None:
            connection.execute(f'CREATE DATABASE "{DATABASE}"')


if __name__ == "__main__":
    main()
