"""`graph-agent eval add TRACE_ID`: makes a row from a stored trace and from what the answer should have been."""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from graph_agent.evaluating.errors import BadDataset, EvalError
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.row_reader import read_row, read_rows
from graph_agent.evaluating.rows import HALVES, Row
from graph_agent.evaluating.tracking import local_file, tracking_uri
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.redaction import redact_value
from graph_agent.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command. In a terminal, the command asks for expectations if none are given."""
    parser.add_argument("trace", metavar="TRACE_ID")
    parser.add_argument("--dataset", metavar="NAME", help="a dataset of evals/datasets, or a JSONL file")
    parser.add_argument("--id", help="the row's id (default: based on the trace's id)")
    parser.add_argument("--fact", action="append", metavar="A|B", help="a fact the answer must contain; A or B")
    parser.add_argument("--document", action="append", metavar="A|B", help="a document that must be retrieved; A or B")
    parser.add_argument(
        "--tool",
        action="append",
        metavar="NAME{JSON}",
        help='a call that must be made, such as calculator{"expression": "2+2"}',
    )
    parser.add_argument("--guideline", action="append", metavar="TEXT", help="a guideline for judges")
    parser.add_argument("--forbidden", action="append", metavar="TEXT", help="a text that no answer may contain")
    parser.add_argument("--must-decline", action="store_true", help="the documents do not answer it")
    parser.add_argument("--half", choices=HALVES, default="tuning", help="default: tuning, as you have seen the answer")


def run(options: argparse.Namespace) -> int:
    """Append the row, and print the next step. Return the exit status.

    Raises:
        EvalError: there is no such trace, it has no conversation, or no expectation is given.
        BadDataset: the dataset cannot be read, or already has the row or its conversation.
    """
    settings = Settings.from_environment()
    dataset = Project(config=settings.config).dataset(options.dataset, scripted=False)
    stored = stored_trace(options.trace, settings)
    expectations = expected(options)
    if not expectations and sys.stdin.isatty():
        print(f"asked:    {json.dumps(stored['input'][-1].get('content'))}\nanswered: {stored['answer']}")
        expectations = asked_for(input)
    if not expectations:
        raise EvalError(
            "the row needs an expectation; give --fact, --document, --tool, --guideline, --forbidden or --must-decline"
        )
    row = {
        "id": options.id or f"trace-{options.trace.removeprefix('tr-')[:12]}",
        "inputs": {"input": stored["input"]},
        "expectations": expectations,
        "tags": {
            "suite": dataset.stem,
            "kind": kind_of(expectations, stored["ran"]),
            "half": options.half,
            "trace": options.trace,
        },
    }
    added = append_row(dataset, row)
    print(f"added {added.id} to {dataset}; run graph-agent eval baseline, then review both diffs")
    return 0


def append_row(dataset: Path, row: Mapping[str, Any]) -> Row:
    """Check the row in the same way as `read_rows`, and append it to the file. The file may be new.

    Raises:
        BadDataset: it is not a row, its id is taken, or another row asks the same.
    """
    line = json.dumps(row, ensure_ascii=False)
    new = read_row(line, f"the row of {row['id']}")
    known = read_rows(dataset) if dataset.exists() else []
    if new.id in {one.id for one in known}:
        raise BadDataset(f"{dataset} already has a row {new.id!r}; choose another id with --id", param="id")
    if same := next((one.id for one in known if one.asks == new.asks), None):
        raise BadDataset(f"row {same!r} of {dataset} asks the same; change its expectations", param="inputs")
    before = dataset.read_text(encoding="utf-8") if dataset.exists() else ""
    dataset.parent.mkdir(parents=True, exist_ok=True)
    dataset.write_text(before + ("" if not before or before.endswith("\n") else "\n") + line + "\n", encoding="utf-8")
    return new


def stored_trace(trace_id: str, settings: Settings) -> dict[str, Any]:
    """Read a trace from where the service writes traces. `input` is the conversation as Responses items, and `ran` has
    the types of its spans.

    Raises:
        EvalError: there is no such trace, or it has no conversation.
    """
    uri = tracking_uri(settings)
    if (file := local_file(uri)) is not None and not file.exists():
        # MLflow would make the file, which is the part of the service.
        raise EvalError(f"there is no trace {trace_id!r}, because {file} does not exist: ask the service first")
    with IMPORT_LOCK:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    try:
        trace = MlflowClient(tracking_uri=uri).get_trace(trace_id)
    except MlflowException as error:
        raise EvalError(
            f"there is no trace {trace_id!r} ({error.error_code}); check where GRAPH_AGENT_TRACKING_URI points"
        ) from None
    root = next((span for span in trace.data.spans if span.parent_id is None), None)
    items = conversation(root.inputs if root else None)
    if not items:
        raise EvalError(f"the trace {trace_id!r} has no conversation; give the trace of a run of a graph")
    # A dataset is committed to a repository, and a user may have pasted a secret.
    return {
        "input": redact_value(items),
        "answer": answer_of(root.outputs if root else None),
        "ran": {span.span_type for span in trace.data.spans},
    }


def conversation(inputs: Any) -> list[dict[str, Any]]:
    """Return the request as Responses items. The trace comes from the service or from a `ResponsesAgent`."""
    match inputs:
        case {"messages": list(messages)}:
            return [item for message in messages for item in items_of(message)]
        case {"request": {"input": list(items)}} | {"input": list(items)}:
            return [{key: value for key, value in item.items() if value is not None} for item in items]
    return []


def items_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Convert a chat message to Responses items: its text, its tool calls, or a tool's result."""
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        return [{"type": "function_call_output", "call_id": message["tool_call_id"], "output": _text(content)}]
    items: list[dict[str, Any]] = [{"role": role, "content": _text(content)}] if _text(content) else []
    for call in message.get("tool_calls") or []:
        function = call["function"]
        items.append({"type": "function_call", "call_id": call["id"], **function})
    return items


def answer_of(outputs: Any) -> str:
    """Return the answer, to show it to the person who enters the expectations."""
    match outputs:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
    return ""


def expected(options: argparse.Namespace) -> dict[str, Any]:
    """Return the expectations that the flags give."""
    found: dict[str, Any] = {}
    if options.fact:
        found["facts"] = [_alternatives(one) for one in options.fact]
    if options.document:
        found["documents"] = [_alternatives(one) for one in options.document]
    if options.tool:
        found["tool_calls"] = [_call(one) for one in options.tool]
    for name in ("guideline", "forbidden"):
        if given := getattr(options, name):
            found["guidelines" if name == "guideline" else name] = given
    if options.must_decline or options.fact or options.document:
        found["must_decline"] = options.must_decline
    return found


def asked_for(ask: Callable[[str], str]) -> dict[str, Any]:
    """Ask a person for the expectations."""
    if ask("must it decline, because the documents do not answer this? [y/N] ").strip().lower().startswith("y"):
        return {"must_decline": True}
    found: dict[str, Any] = {}
    for name, prompt in (("facts", "a fact the answer must contain"), ("documents", "a document it must find")):
        while line := ask(f"{prompt} (alternatives with |, empty to end): ").strip():
            found.setdefault(name, []).append(_alternatives(line))
    return found | {"must_decline": False} if found else {}


def kind_of(expectations: Mapping[str, Any], ran: Collection[str]) -> str:
    """Return the tag `kind`, by which reports and samples group rows. `ran` has the types of the trace's spans."""
    if expectations.get("must_decline"):
        return "unanswerable"
    if "documents" in expectations:
        return "tools" if "tool_calls" in expectations else "docs"
    # A fact may come from a tool or from a document.
    only_tools = "TOOL" in ran and "RETRIEVER" not in ran
    return "tools" if "tool_calls" in expectations or only_tools else "docs"


def _alternatives(text: str) -> Sequence[str]:
    return [one.strip() for one in text.split("|") if one.strip()]


def _call(text: str) -> dict[str, Any]:
    name, brace, rest = text.partition("{")
    try:
        return {"name": name.strip(), "arguments": json.loads(brace + rest) if brace else {}}
    except ValueError:
        raise EvalError(f"--tool {name.strip()}: what follows the name must be a JSON object") from None


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""
