"""Sends generated requests to every address, and finds answers that `/openapi.json` does not describe.

`make fuzz` runs it for minutes. The tests run a small part of it.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.hooks import unregister
from schemathesis.python import asgi

# Otherwise the first message of MCP imports it, which may take longer than Schemathesis waits for an answer.
import graph_agent.serving.mcp_exchange  # noqa: F401
from graph_agent.serving.app import create_app
from graph_agent.settings import Settings

PHASES = ("examples", "coverage", "fuzzing", "stateful")
"""The ways in which Schemathesis makes requests: from the corners of the schemas, at random, and from the ids in
earlier answers."""

CHECKS = {
    # A page that is not built is described, and so is a service that cannot answer yet. There is no model here, so that
    # no history can be summarized: 502. Any other is an error of ours.
    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "502", "503"]},
    # The schemas accept more than the service: they do not say which fields exclude each other.
    "positive_data_acceptance": {"enabled": False},
}


@dataclass
class Report:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    operations: dict[str, set[int]] = field(default_factory=dict)
    """Operation -> the statuses of its answers."""
    findings: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The check, its kind of failure and the operation -> the first request and answer that failed it."""

    def add(self, event: Any) -> None:
        """Add an event of the engine."""
        if isinstance(event, events.NonFatalError | events.FatalError):
            error = getattr(event, "value", None) or getattr(event, "exception", None)
            self.findings.setdefault(("error", type(error).__name__, str(getattr(event, "label", ""))), repr(error))
        if not isinstance(event, events.ScenarioFinished):
            return
        record = event.recorder
        for case, sent in record.interactions.items():
            if sent.response is not None:
                asked, status = record.cases[case].value, sent.response.status_code
                self.statuses[status] += 1
                self.operations.setdefault(f"{asked.method} {asked.path}", set()).add(status)
        for case, checks in record.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                failure, found = check.failure_info.failure, record.interactions.get(case)
                place = f"{record.cases[case].value.method} {record.cases[case].value.path}"
                words = f"{failure.title}: {failure.message}"
                if found is not None:
                    got = found.response.content[:300] if found.response else None
                    words += f"\n{found.request.method} {found.request.uri}\n{found.request.body!r:.300}\n{got!r}"
                self.findings.setdefault((check.name, type(failure).__name__, place), words[:2000])

    def __str__(self) -> str:
        """The figures, and every finding."""
        told = ", ".join(f"{status}: {number}" for status, number in sorted(self.statuses.items()))
        lines = [f"{sum(self.statuses.values())} requests ({told}), {len(self.findings)} findings"]
        # Schemathesis also tries methods that an address does not have.
        served = {name: statuses for name, statuses in self.operations.items() if statuses != {405}}
        never = [name for name, statuses in served.items() if min(statuses) >= 400]
        lines.append(f"{len(served)} operations; never answered without an error: {', '.join(never) or 'none'}")
        return "\n\n".join([*lines, *(f"{' / '.join(key)}\n{words}" for key, words in self.findings.items())])


class Ids:
    """Puts ids of what exists into addresses: an id that was made up names nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._calls = 0

    def put(self, case: Any) -> None:
        """Give most requests an id that exists. What it names is made for the request, because others delete."""
        self._calls += 1
        if case.path.endswith("/mcp") and self._calls % 4:
            # OpenAPI has no parameter of this name.
            case.headers["accept"] = "application/json, text/event-stream"
        if "{id}" not in case.path or self._calls % 4 == 0:
            return
        kind = case.path.split("/{id}")[0].rpartition("/")[2]
        if kind == "models":
            ids = {"id": "answering"}
        elif kind == "conversations":
            id_ = self._post("/conversations", {"items": [{"role": "user", "content": "Hi"}]})["id"]
            ids = {"id": id_, "item_id": self._first(f"/conversations/{id_}/items")}
        else:
            family = "/v1" if case.path.startswith("/v1/") else ""
            id_ = self._post(f"{family}/responses", {"model": "answering", "input": "Hi"})["id"]
            ids = {"id": self._first("/memories") if kind == "memories" else id_}
        for name in case.path_parameters:
            case.path_parameters[name] = ids[name]

    def _post(self, path: str, body: Any) -> Any:
        return self._client.post(path, json=body).json()

    def _first(self, path: str) -> Any:
        return self._client.get(path).json()["data"][0]["id"]


@contextmanager
def _ids_that_exist(app: Any, headers: Mapping[str, str]) -> Iterator[None]:
    # A hook of calls is for the whole process.
    with asgi.get_client(app) as client:
        client.headers.update(headers)
        ids = Ids(client)

        @schemathesis.hook
        def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
            ids.put(case)

        try:
            yield
        finally:
            unregister(before_call)


async def _answer(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
    if runtime.store is not None:
        await runtime.store.aput(("notes",), f"{len(state['messages'])}", {"text": "Somebody has said something."})
        await runtime.store.aput(("notes",), "another", {"count": len(state["messages"])})
    return {"messages": [AIMessage(f"I have heard {len(state['messages'])} messages.")]}


def _graph() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", _answer)
    builder.add_edge(START, "answer")
    return builder.compile()


def fuzzed(
    folder: Path,
    *,
    phases: Sequence[str] = PHASES,
    examples: int,
    seed: int = 1,
    addresses: str = "",
    headers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Report:
    """Send requests to an app with a store in `folder`, and report what came of them.

    `addresses` is a regular expression for the addresses that are asked. The same seed makes the same requests.
    """
    values: dict[str, Any] = {
        "tracing": "off",
        "store": f"sqlite:{folder / 'store.sqlite'}",
        "allowed_hosts": asgi.HOST,
        # So that most requests run a graph, whatever they name.
        "fallback_graph": "answering",
        "max_seconds": 5.0,
    }
    app = create_app(Settings(**values | settings), {"answering": _graph()}, environ={})
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "headers": dict(headers or {}),
            "continue-on-failure": True,
            "generation": {
                "max-examples": examples,
                "deterministic": True,
                "no-shrink": True,
                "database": "none",
            },
            "checks": CHECKS,
            "phases": {phase: {"enabled": phase in phases} for phase in PHASES},
        }
    )
    report = Report()
    try:
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
        if addresses:
            schema = schema.include(path_regex=addresses)
        with _ids_that_exist(app, headers or {}):
            for one in from_schema(schema).execute():
                report.add(one)
    finally:
        asgi.shutdown_lifespans()
    return report


def main() -> int:
    """Fuzz by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="requests of each operation in each random phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default=",".join(PHASES))
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = fuzzed(Path(folder), phases=given.phases.split(","), examples=given.examples, seed=given.seed)
    sys.stdout.write(f"{report}\nseed {given.seed}, {time.monotonic() - began:.0f} s\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
