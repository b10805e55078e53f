"""`graph-agent ask "QUESTION"`: print the answer in the terminal, with steps, sources and timing."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

import httpx

from graph_agent.catalog.manifest import check_graph_name, read_manifest
from graph_agent.commands import deployed_app
from graph_agent.commands.closed_output import nobody_reads
from graph_agent.commands.options import settings_from
from graph_agent.errors import GraphNotLoaded, NotReady, UnknownGraph
from graph_agent.local.ports import answers
from graph_agent.printable import printable
from graph_agent.processes import shutdown
from graph_agent.processes.child import ChildProcess
from graph_agent.protocol.logged_response import NEVER_RETURNED
from graph_agent.settings import PREFIX, Settings
from graph_agent.sse_lines import data_of_line, read_lines

START_SECONDS = 3600
"""How long to wait for the service. The first start downloads a gigabyte and shows its progress meanwhile."""

STOP_SECONDS = str(shutdown.STOP_SECONDS + shutdown.TRACES_SECONDS + 5)
"""How long the processes started for the question may take to shut down cleanly. They end themselves before that, and
take so long only for the first trace, which needs a new file."""

MOST_LOG = 65_536
"""Bytes at the end of the service's log that are searched for errors."""

WAITS = (
    "the graph waits for a person's decision, and `graph-agent ask` takes none; ask on the chat page, at the address "
    "of the service, or with a client that answers approvals"
)

MOST_LINES = 20
"""Lines of the service's log that are shown."""

MOST_SHOWN = 100
"""Characters of a tool's arguments or result shown on its line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the question, the graph, and the service to ask."""
    parser.add_argument("question", metavar="QUESTION", help="the question to ask, in quotes")
    parser.add_argument("--graph", metavar="NAME", help="graph to ask (default: the first one in langgraph.json)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--url", help="base URL of a running service to ask")
    where.add_argument("--app", metavar="NAME", help="name of a deployed app to ask; signs in with OAuth")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    return ask(options.question, graph=options.graph, url=options.url, app=options.app, settings=settings_from(options))


def ask(question: str, *, graph: str | None, url: str | None, settings: Settings, app: str | None = None) -> int:
    """Ask a running service, or start the local workspace and service for this one question. Returns the exit status.

    `app` names a deployed app. It is looked up in the workspace and asked with the environment's OAuth token. `url`
    is any other service. It is sent `GRAPH_AGENT_BEARER_TOKEN` if that is set.

    Raises:
        NotReady: the service at `url` does not answer, the one started here ended or cannot start while another starts,
            or there is no such app.
        UnknownGraph: the service lists its graphs, and `graph` is not one of them.
        Unauthenticated: `app` is given, but the credentials are a personal access token.
    """
    headers: Mapping[str, str] = {}
    if app is not None:
        address, sign_in = deployed_app.find(app)
        headers = sign_in()
    else:
        address = url or f"http://127.0.0.1:{settings.port}"
        if settings.bearer_token:
            headers = {"Authorization": f"Bearer {settings.bearer_token}"}
    # Longer than the service's own time limit, so that its error arrives here.
    timeout = httpx.Timeout(settings.max_seconds + settings.startup_wait_seconds, connect=5.0)
    # Databricks Apps accepts tokens only on paths below /api/.
    path = "/api/responses" if app is not None else "/responses"
    with httpx.Client(timeout=timeout, headers=dict(headers)) as client:
        if app is not None or url is not None or _runs(client, address):
            if graph is not None and app is None:
                # Skipped for an app: Databricks accepts tokens only on paths below /api/, and /agent/info is not one.
                _require_served(client, address, graph)
            elif graph is None and app is None and url is None:
                _tell_of_other_graphs(client, address, settings.config)
            return _show(client, address + path, question, graph)
        if graph is not None:
            # Checked here so that a typo fails before the model is loaded, which can take a minute.
            check_graph_name(graph, read_manifest(settings.config))
        if answers(settings.workspace_port):
            raise NotReady(
                f"port {settings.workspace_port}, of the local workspace, is in use; if `graph-agent dev` is starting, "
                "ask again when it is ready; else stop what uses the port, or set GRAPH_AGENT_WORKSPACE_PORT"
            )
        with tempfile.TemporaryFile() as log:
            has_ended = True
            try:
                with _started(log) as child:
                    try:
                        _wait(client, address, child)
                        return _show(client, address + path, question, graph)
                    finally:
                        has_ended = child.poll() is not None
            finally:
                # After the service has stopped: it writes its log a little later than its answer.
                _print_errors(log, whole=has_ended)


def _runs(client: httpx.Client, address: str) -> bool:
    """Whether a service runs there. While its graphs still load it is not ready, and lets the question wait."""
    try:
        health = client.get(f"{address}/health")
        return health.status_code == 200 and health.json() == {"status": "healthy"}
    except (httpx.HTTPError, ValueError):
        return False


def _ready(client: httpx.Client, address: str) -> bool:
    try:
        return client.get(f"{address}/ready").status_code == 200
    except httpx.HTTPError:
        return False


def _require_served(client: httpx.Client, address: str, graph: str) -> None:
    """Refuse a graph that the service does not have. `/responses` answers an unknown name with the default graph, and
    that answer would look like the other graph's."""
    names = _served(client, address)
    # Without names it is not a graph-agent service, or an older one. `_require_graph` checks the name in its answer.
    if names and graph not in names:
        raise UnknownGraph(
            f"the service at {address} has no graph named {graph!r}; its graphs are: {', '.join(names)}", param="graph"
        )


def _tell_of_other_graphs(client: httpx.Client, address: str, manifest: Path) -> None:
    """Say that another project's service answers, if the one on the port has none of this folder's graphs.

    The answer would look like this project's. It is no error, because `graph-agent dev --config` serves others too.
    """
    try:
        listed = [spec.name for spec in read_manifest(manifest)]
    except GraphNotLoaded:
        # Not a folder of a project, or one whose file is broken. The running service needs neither.
        return
    names = _served(client, address)
    if names and not set(names) & set(listed):
        print(
            f"the service at {address} answers, and it has no graph of {manifest}, which lists {', '.join(listed)}; "
            f"its graphs are: {', '.join(names)}. To ask this project, stop that service, or run `graph-agent dev` "
            "here on other ports with GRAPH_AGENT_PORT and GRAPH_AGENT_WORKSPACE_PORT",
            file=sys.stderr,
        )


def _served(client: httpx.Client, address: str) -> list[str]:
    """The names of the service's graphs. Empty if it does not tell."""
    try:
        return [printable(str(one["name"])) for one in client.get(f"{address}/agent/info").json()["graphs"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return []


@contextmanager
def _started(log: IO[bytes]) -> Iterator[ChildProcess]:
    """Run the local workspace and service. Download progress goes to standard error, and the log goes to `log`."""
    dev = ["graph_agent", "dev", "--no-reload", "--quiet"]
    child = ChildProcess(
        [sys.executable, "-m", "graph_agent.processes.end_with_parent", STOP_SECONDS, *dev],
        # `_print_errors` finds errors by their level in text lines.
        environ=dict(os.environ) | {f"{PREFIX}LOG_FORMAT": "text"},
        output=log,
    )
    try:
        yield child
    finally:
        child.stop(float(STOP_SECONDS))


def _print_errors(log: IO[bytes], *, whole: bool) -> None:
    """Print the errors of the service that was started for the question. With `whole`, print every line."""
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - MOST_LOG))
    lines = log.read().decode(errors="replace").splitlines()
    for line in lines[-MOST_LINES:] if whole else [one for one in lines if " ERROR " in one][-MOST_LINES:]:
        print(line, file=sys.stderr)


def _wait(client: httpx.Client, address: str, child: ChildProcess) -> None:
    ends = time.monotonic() + START_SECONDS
    while not _ready(client, address):
        if child.poll() is not None:
            raise NotReady("the service did not start; see its message above")
        if time.monotonic() > ends:
            raise NotReady("the service did not start within an hour; run `graph-agent doctor`")
        time.sleep(0.2)


def _show(client: httpx.Client, address: str, question: str, graph: str | None) -> int:
    # Not stored: the command never continues, and the question would stand among the caller's conversations.
    body = {"input": question, "stream": True, "store": False, **({"model": graph} if graph else {})}
    printer = Printer(sys.stdout)
    try:
        with client.stream("POST", address, json=body) as response:
            if response.is_redirect:
                # The Apps proxy redirects unauthenticated callers to a sign-in page for browsers.
                print("the app did not accept the token; use OAuth, and ask for CAN_USE on the app", file=sys.stderr)
                return 1
            if response.status_code != 200:
                response.read()
                print(f"{response.status_code}: {printable(_message(response))}", file=sys.stderr)
                return 1
            for line in read_lines(response.iter_bytes()):
                if (data := data_of_line(line)) is not None and data.startswith("{"):
                    event = json.loads(data)
                    _require_graph(event, graph, address)
                    printer.show(event)
                    if nobody_reads(sys.stdout):
                        # As in `graph-agent ask … | head`. That is not an error.
                        return 0
    except httpx.ConnectError:
        raise NotReady(
            f"nothing answers at {address}; start the service with `graph-agent dev`, or omit --url"
        ) from None
    except httpx.HTTPError as error:
        print(f"\nthe connection broke before the answer was complete ({type(error).__name__})", file=sys.stderr)
        return 1
    return 1 if printer.failed else 0


def _require_graph(event: Mapping[str, Any], graph: str | None, address: str) -> None:
    """Stop before the first word if another graph answers: the service answers unknown names with its default."""
    if graph is None or event.get("type") != "response.created":
        return
    answering = str((event.get("response") or {}).get("model") or graph)
    if answering != graph:
        raise UnknownGraph(
            f"the service at {address} has no graph named {graph!r}; it would answer with {answering!r}", param="graph"
        )


def _message(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return "the service gave no reason"


class Printer:
    """Prints a response's events for a person. `failed` is true after an error event."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._began = time.monotonic()
        self._first: float | None = None
        self._names: dict[str, str] = {}
        self._without_result: list[str] = []
        self.failed = False

    def show(self, event: Mapping[str, Any]) -> None:
        """Print one event. Events without text, a tool call or an ending are skipped."""
        match event.get("type"):
            case "response.output_text.delta":
                self._first = self._first or time.monotonic()
                self._write(event["delta"])
            case "response.output_item.done":
                self._item(event["item"])
            case "error":
                self.failed = True
                # The message of this one says what to send over HTTP, which a person at a terminal does not do.
                if event.get("code") == "approval_needs_store":
                    self._tell_calls_without_result("has not run: it waits for the decision")
                    self._write(f"\nnot answered: {WAITS}\n")
                else:
                    self._tell_calls_without_result(NEVER_RETURNED)
                    self._write(f"\nfailed: {event['message']}\n")
            case "response.completed" | "response.incomplete":
                self._tell_calls_without_result(NEVER_RETURNED)
                self._end(event["response"])

    def _item(self, item: Mapping[str, Any]) -> None:
        match item["type"]:
            case "function_call":
                self._names[item.get("call_id", "")] = item["name"]
                self._write(f"  > {_short(item['name'])} {_short(item['arguments'])}\n")
            case "function_call_output" if item["output"] == NEVER_RETURNED:
                # How the run ends says why, and comes later.
                self._without_result.append(self._names.get(item.get("call_id", ""), "a tool"))
            case "function_call_output":
                self._write(f"    {_short(item['output'])}\n")
            case "message":
                self._write("\n")

    def _tell_calls_without_result(self, words: str) -> None:
        for name in self._without_result:
            self._write(f"  {_short(name)}: {words}\n")
        self._without_result.clear()

    def _end(self, response: Mapping[str, Any]) -> None:
        sources = (response.get("custom_outputs") or {}).get("sources") or []
        for source in sources:
            if source.get("cited"):
                self._write(f"  [{source['number']}] {_short(source['title'])} ({_short(source['doc_uri'])})\n")
        seconds = time.monotonic() - self._began
        first = f"first word {self._first - self._began:.1f} s, " if self._first else ""
        usage = response.get("usage") or {}
        tokens = f", {usage['input_tokens']} + {usage['output_tokens']} tokens" if usage.get("output_tokens") else ""
        self._write(f"  {first}total {seconds:.1f} s{tokens}\n")

    def _write(self, text: str) -> None:
        self._out.write(printable(text))
        self._out.flush()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]}…"
