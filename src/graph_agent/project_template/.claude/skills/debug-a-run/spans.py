"""Prints the spans of a run: python spans.py TRACE_ID|ANSWER.json [--whole].

ANSWER.json is a response of the service that was asked with the header `x-mlflow-return-trace-id: true`. The trace is
read from where the service writes traces.
"""

import json
import os
import sys
import time
from pathlib import Path

from graph_agent import Settings

SHOWN = 160
"""Characters of an input or output that are shown without --whole."""

SECONDS = 20
"""How long a trace that is not stored yet is waited for."""


def main() -> int:
    """Print the spans."""
    whole = "--whole" in sys.argv
    given = [one for one in sys.argv[1:] if one != "--whole"]
    if len(given) != 1:
        return failed("usage: python spans.py TRACE_ID|ANSWER.json [--whole]")
    trace_id = given[0]
    if trace_id.endswith(".json"):
        answer = json.loads(Path(trace_id).read_text(encoding="utf-8"))
        found = (answer.get("metadata") or {}).get("trace_id")
        if not found:
            return failed("the answer has no metadata.trace_id; send the header, and start with GRAPH_AGENT_TRACING=on")
        trace_id = found
    trace = read(trace_id)
    if trace is None:
        return failed(f"there is no trace {trace_id} in {place()}; GRAPH_AGENT_TRACKING_URI names another place")
    seconds = trace.info.execution_duration / 1000
    print(f"{trace_id} {seconds:.2f} s {trace.info.state.value}, {len(trace.data.spans)} spans")
    show(trace.data.spans, None, 1, None if whole else SHOWN)
    return 0


def failed(message):
    """Say why there is nothing to show."""
    print(message, file=sys.stderr)
    return 1


def place():
    """Where the service writes traces: the URI for MLflow."""
    settings = Settings.from_environment()
    named = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{settings.cache_dir.resolve()}/traces.db"


def read(trace_id):
    """Return the trace, or None if there is none after some seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = place()
    file = Path(uri.removeprefix("sqlite:///"))
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    ends = time.monotonic() + SECONDS
    while True:
        # MLflow would make the file, which is the part of the service.
        if not uri.startswith("sqlite:///") or file.is_file():
            try:
                return MlflowClient(tracking_uri=uri).get_trace(trace_id)
            except MlflowException:
                pass
        if time.monotonic() > ends:
            return None
        time.sleep(0.5)


def show(spans, parent, depth, most):
    """Print the spans below a span, in the order in which they began."""
    for span in sorted((one for one in spans if one.parent_id == parent), key=lambda one: one.start_time_ns):
        indent = "  " * depth
        seconds = ((span.end_time_ns or span.start_time_ns) - span.start_time_ns) / 1e9
        print(f"{indent}{span.span_type} {span.name} {seconds:.2f} s {span.status.status_code.value}")
        for name, value in (("in ", span.inputs), ("out", span.outputs), ("error", span.status.description)):
            if value not in (None, "", {}, []):
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                # One line, without what could move the cursor of a terminal.
                text = "".join(one if one.isprintable() else " " for one in text)
                print(f"{indent}  {name} {text if most is None or len(text) <= most else text[:most] + ' …'}")
        show(spans, span.span_id, depth + 1, most)


if __name__ == "__main__":
    sys.exit(main())
