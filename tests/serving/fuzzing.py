"""Sends generated requests to every address, and finds answers that `/openapi.json` does not describe.

`make fuzz` runs it for minutes. The tests run a small part of it.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemathesis
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.python import asgi

from graph_agent.serving.app import create_app
from graph_agent.settings import Settings

PHASES = ("examples", "coverage", "fuzzing", "stateful")
"""The ways in which Schemathesis makes requests: from the corners of the schemas, at random, and from the ids in
earlier answers."""

CHECKS = {
    # A page that is not built is described, and so is a service that cannot answer yet. Any other is an error of ours.
    "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
    # The schemas accept more than the service: they do not say which fields exclude each other.
    "positive_data_acceptance": {"enabled": False},
}


@dataclass
class Report:
    """What came of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
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
        self.statuses.update(one.response.status_code for one in record.interactions.values() if one.response)
        for case, checks in record.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                failure, sent = check.failure_info.failure, record.interactions.get(case)
                place = f"{record.cases[case].value.method} {record.cases[case].value.path}"
                words = f"{failure.title}: {failure.message}"
                if sent is not None:
                    got = sent.response.content[:300] if sent.response else None
                    words += f"\n{sent.request.method} {sent.request.uri}\n{sent.request.body!r:.300}\n{got!r}"
                self.findings.setdefault((check.name, type(failure).__name__, place), words[:2000])

    def __str__(self) -> str:
        """The figures, and every finding."""
        told = ", ".join(f"{status}: {number}" for status, number in sorted(self.statuses.items()))
        lines = [f"{sum(self.statuses.values())} requests ({told}), {len(self.findings)} findings"]
        return "\n\n".join([*lines, *(f"{' / '.join(key)}\n{words}" for key, words in self.findings.items())])


def _answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"I have heard {len(state['messages'])} messages.")]}


def _graph() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", _answer)
    builder.add_edge(START, "answer")
    return builder.compile()


def fuzzed(
    folder: Path, *, phases: Sequence[str] = PHASES, examples: int, seed: int = 1, addresses: str = "", **settings: Any
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
