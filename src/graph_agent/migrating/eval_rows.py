"""Rows for `graph-agent eval`, from the lists of test cases in a template's evaluation script."""

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Any

from graph_agent.migrating.findings import Finding
from graph_agent.migrating.sources import Module

PATH = "evals/datasets/agent.jsonl"
MOST_ROWS = 2_000
MOST_BITS = 64
"""Bits of a number. Python writes no number of some thousand digits."""

QUESTIONS = ("question", "query", "prompt")


def take_eval_rows(modules: list[Module], taken: list[Finding], left: list[Finding]) -> str:
    """The rows as JSON lines, or an empty text if there are none."""
    rows: dict[str, str] = {}
    for module in modules:
        for node in module.tree.body:
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.List):
                continue
            found = 0
            for place, entry in enumerate(node.value.elts, start=1):
                case = _literal(entry)
                row = _row(case) if isinstance(case, dict) else None
                if row is None or len(rows) >= MOST_ROWS:
                    if isinstance(case, dict) and ("inputs" in case or "goal" in case):
                        what = "a test case of another form, or one too many"
                        left.append(Finding(module.path, entry.lineno, what, f"write it as a row of {PATH}"))
                    continue
                asks = json.dumps(row["inputs"], sort_keys=True)
                if asks in rows:
                    continue
                rows[asks] = json.dumps({"id": f"{'goal' if 'goal' in case else 'row'}-{place}-{len(rows) + 1}", **row})
                found += 1
                left += _not_taken(case, module.path, entry.lineno)
            if found:
                taken.append(Finding(module.path, node.lineno, f"{found} test cases, now in {PATH}"))
    return "".join(f"{row}\n" for row in rows.values())


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _row(case: Mapping[str, Any]) -> dict[str, Any] | None:
    if isinstance(case.get("goal"), str):
        return {"inputs": _asking(case["goal"]), "expectations": {}, "tags": {"kind": "goal"}}
    inputs, expected = case.get("inputs"), case.get("expectations") or {}
    if not isinstance(inputs, dict) or not isinstance(expected, dict):
        return None
    items = inputs.get("input") or inputs.get("messages")
    if isinstance(items, list) and items and all(isinstance(one, dict) and _is_json(one) for one in items):
        asked: Any = {"input": items}
    elif text := next((inputs[one] for one in QUESTIONS if isinstance(inputs.get(one), str)), None):
        asked = _asking(text)
    else:
        return None
    expectations: dict[str, Any] = {}
    if facts := [one for one in _listed(expected.get("expected_facts")) if isinstance(one, str)]:
        expectations["facts"] = [[one] for one in facts]
    if guidelines := [one for one in _listed(expected.get("guidelines")) if isinstance(one, str)]:
        expectations["guidelines"] = guidelines
    return {"inputs": asked, "expectations": expectations, "tags": {"kind": "row"}}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_json(value: Any) -> bool:
    """Whether a literal of Python can be written as JSON: it has no sets, bytes or other keys than texts."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, int):
        return value.bit_length() <= MOST_BITS
    return value is None or isinstance(value, str | float)


def _asking(text: str) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": text}]}


def _not_taken(case: Mapping[str, Any], path: str, line: int) -> Iterator[Finding]:
    more = sorted({"persona", "simulation_guidelines"} & set(case))
    if more:
        do = "run graph-agent eval --judge MODEL --conversations N: a model plays a user who wants to know the goal"
        yield Finding(path, line, f"{' and '.join(more)} of a simulated user", do)
    expected = case.get("expectations")
    if isinstance(expected, dict) and "expected_response" in expected:
        yield Finding(path, line, "expected_response of a test case", "write the facts that the answer must contain")
