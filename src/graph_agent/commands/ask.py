"""`graph-agent ask "QUESTION"`: the answer in the terminal, with steps, sources and timing."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, TextIO

import httpx

from graph_agent.catalog.manifest import check_graph_name, read_manifest
from graph_agent.commands.options import settings_from
from graph_agent.errors import AgentError, NotReady, UnknownGraph
from graph_agent.printable import printable
from graph_agent.processes.child import ChildProcess
from graph_agent.settings import PREFIX, Settings
from graph_agent.sse_lines import data_of_line, read_lines

START_SECONDS = 3600
"""A first start downloads a gigabyte; its progress shows meanwhile."""

STOP_SECONDS = "15"
"""For what was started for the question to end in order."""

MOST_LOG = 65_536
"""Bytes of the service's log that are looked through for errors, and the lines of it that are shown."""

MOST_LINES = 20

MOST_SHOWN = 100
"""Characters of a tool's arguments or result shown on its line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The question, and who is asked."""
    parser.add_argument("question")
    parser.add_argument("--graph", metavar="NAME", help="a graph of langgraph.json; the first one if not given")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="base URL of a service that runs already")
    where.add_argument("--app", metavar="NAME", help="a deployed app, asked with OAuth")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return ask(options.question, graph=options.graph, url=options.url, app=options.app, settings=settings_from(options))


def ask(question: str, *, graph: str | None, url: str | None, settings: Settings, app: str | None = None) -> int:
    """Ask a running service, or start the local workspace and service for this one question; the exit status.

    `app` is a deployed app, looked up and asked with the OAuth token of the environment; `url` any other service, sent
    `GRAPH_AGENT_BEARER_TOKEN` where that is set.

    Raises:
        NotReady: the service at `url` does not answer, the one started here ended, or there is no such app.
        UnknownGraph: the service tells its graphs, and `graph` is none of them.
        Unauthenticated: an app is to be asked with a personal access token.
    """
    address, headers = _deployed(app) if app is not None else (url or f"http://127.0.0.1:{settings.port}", {})
    if app is None and settings.bearer_token:
        headers = {"Authorization": f"Bearer {settings.bearer_token}"}
    timeout = httpx.Timeout(settings.max_seconds + settings.startup_wait_seconds, connect=5.0)
    path = "/api/responses" if app is not None else "/responses"
    with httpx.Client(timeout=timeout, headers=dict(headers)) as client:
        if app is not None or url is not None or _ready(client, address):
            if graph is not None and app is None:
                # Of an app, tokens reach addresses below /api/ alone.
                _see_that_it_is_served(client, address, graph)
            return _show(client, address + path, question, graph)
        if graph is not None:
            # Before the minute that loading a model can take.
            check_graph_name(graph, read_manifest(settings.config))
        with tempfile.TemporaryFile() as log, _started(log) as child:
            try:
                _wait(client, address, child)
                return _show(client, address + path, question, graph)
            finally:
                _tell_errors(log, whole=child.poll() is not None)


def _deployed(app: str) -> tuple[str, Mapping[str, str]]:
    from graph_agent.databricks.apps import app_url, oauth_headers
    from graph_agent.databricks.clients import workspace_client

    try:
        client = workspace_client()
        headers = oauth_headers(client)
    except AgentError:
        raise
    except Exception as error:
        raise NotReady(
            f"the workspace could not be signed in to ({type(error).__name__}); set DATABRICKS_HOST and sign in with"
            " `databricks auth login`, or set the service principal's variables"
        ) from error
    return app_url(client, app), headers


def _ready(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(f"{address}/ready").status_code == 200
    except httpx.HTTPError:
        return False


def _see_that_it_is_served(client: httpx.Client, address: str, graph: str) -> None:
    """At the address that is asked here, a name that is unknown means the default graph: its answer would pass for the
    other's."""
    try:
        names = [str(one["name"]) for one in client.get(f"{address}/agent/info").json()["graphs"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        # Not one of ours, or an older one: its answer will tell.
        return
    if graph not in names:
        raise UnknownGraph(f"no graph named {graph!r} is served there; known: {', '.join(names)}", param="graph")


@contextmanager
def _started(log: IO[bytes]) -> Iterator[ChildProcess]:
    """The local workspace and service, which say on standard error what they fetch, and write their log to `log`."""
    dev = ["graph_agent", "dev", "--no-reload", "--quiet"]
    child = ChildProcess(
        [sys.executable, "-m", "graph_agent.processes.end_with_parent", STOP_SECONDS, *dev],
        environ=dict(os.environ) | {f"{PREFIX}LOG_FORMAT": "text"},
        output=log,
    )
    try:
        yield child
    finally:
        child.stop(float(STOP_SECONDS))


def _tell_errors(log: IO[bytes], *, whole: bool) -> None:
    """What went wrong in the service that was started for the question: its errors, or all it said if it ended."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - MOST_LOG))
    lines = log.read().decode(errors="replace").splitlines()
    for line in lines[-MOST_LINES:] if whole else [one for one in lines if " ERROR " in one][-MOST_LINES:]:
        print(line, file=sys.stderr)


def _wait(client: httpx.Client, address: str, child: ChildProcess) -> None:
    ends = time.monotonic() + START_SECONDS
    while not _ready(client, address):
        if child.poll() is not None:
            raise NotReady("the service did not start; its message stands above")
        if time.monotonic() > ends:
            raise NotReady("the service did not start in an hour")
        time.sleep(0.2)


def _show(client: httpx.Client, address: str, question: str, graph: str | None) -> int:
    body = {"input": question, "stream": True, **({"model": graph} if graph else {})}
    printer = Printer(sys.stdout)
    try:
        with client.stream("POST", address, json=body) as response:
            if response.is_redirect:
                # The Apps proxy sends whom it does not know to a page for browsers.
                print("the app did not accept the token; it needs OAuth and CAN_USE", file=sys.stderr)
                return 1
            if response.status_code != 200:
                response.read()
                print(f"{response.status_code}: {printable(_message(response))}", file=sys.stderr)
                return 1
            for line in read_lines(response.iter_bytes()):
                if (data := data_of_line(line)) is not None and data.startswith("{"):
                    event = json.loads(data)
                    _require_graph(event, graph)
                    printer.show(event)
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        return 0
    except httpx.ConnectError:
        raise NotReady(f"nothing answers at {address}; start it with graph-agent dev, or leave --url out") from None
    except httpx.HTTPError as error:
        print(f"\nthe stream broke off ({type(error).__name__})", file=sys.stderr)
        return 1
    return 1 if printer.failed else 0


def _require_graph(event: Mapping[str, Any], graph: str | None) -> None:
    """Stop before the first word where another graph answers: the service reads an unknown name as its default."""
    if graph is None or event.get("type") != "response.created":
        return
    answering = str((event.get("response") or {}).get("model") or graph)
    if answering != graph:
        raise UnknownGraph(f"no graph named {graph!r} is served there; {answering} answers instead", param="graph")


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "the service gave no reason"


class Printer:
    """Writes a response's events as a person reads them. `failed` tells how it ended."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._first: float | None = None
        self.failed = False

    def show(self, event: Mapping[str, Any]) -> None:
        """One event; those that say nothing to a person are passed over."""
        match event.get("type"):
            case "response.output_text.delta":
                self._first = self._first or time.monotonic()
                self._write(event["delta"])
            case "response.output_item.done":
                self._item(event["item"])
            case "error":
                self.failed = True
                self._write(f"\nfailed: {event['message']}\n")
            case "response.completed" | "response.incomplete":
                self._end(event["response"])

    def _item(self, item: Mapping[str, Any]) -> None:
        match item["type"]:
            case "function_call":
                self._write(f"  > {_short(item['name'])} {_short(item['arguments'])}\n")
            case "function_call_output":
                self._write(f"    {_short(item['output'])}\n")
            case "message":
                self._write("\n")

    def _end(self, response: Mapping[str, Any]) -> None:
        sources = (response.get("custom_outputs") or {}).get("sources") or []
        for source in sources:
            if source.get("cited"):
                self._write(f"  [{source['number']}] {_short(source['title'])} ({_short(source['doc_uri'])})\n")
        seconds = time.monotonic() - self._began
        first = f"first word {self._first - self._began:.1f} s, " if self._first else ""
        usage = response.get("usage") or {}
        tokens = f", {usage['input_tokens']} + {usage['output_tokens']} tokens" if usage.get("output_tokens") else ""
        self._write(f"  {first}all {seconds:.1f} s{tokens}\n")

    def _write(self, text: str) -> None:
        self._out.write(printable(text))
        self._out.flush()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}…"
