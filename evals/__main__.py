"""`python -m evals --half tuning`: ask a running service the question set and print the figures.

The service is asked over its own HTTP stream, one question at a time, as a person would.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from evals.scoring import Answer, scored

QUESTIONS = Path(__file__).with_name("questions.jsonl")


def main() -> int:
    """Exit status 0 once every question was asked; judging is the reader's."""
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="base URL of the service")
    parser.add_argument("--half", choices=["tuning", "held_out"], default="tuning")
    parser.add_argument("--kind", choices=["docs", "tools", "unanswerable"])
    parser.add_argument("--records", type=Path, help="write one JSON line per question to this file")
    options = parser.parse_args()
    questions = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    questions = [q for q in questions if q["half"] == options.half and options.kind in (None, q["kind"])]
    figures: dict[str, list[bool]] = defaultdict(list)
    seconds: list[float] = []
    records = []
    with httpx.Client(timeout=300.0) as client:
        for number, question in enumerate(questions, 1):
            answer = ask(client, options.url, question["question"])
            seconds.append(answer.seconds)
            marks = scored(question, answer)
            for name, mark in marks.items():
                if mark is not None:
                    figures[name].append(mark)
            records.append({"id": question["id"], "marks": marks, "answer": answer.text, "calls": answer.calls})
            good = {True: "+", False: "-", None: " "}
            line = " ".join(f"{name}{good[mark]}" for name, mark in marks.items() if mark is not None)
            print(f"[{number}/{len(questions)}] {question['id']} {answer.seconds:5.1f} s  {line}", flush=True)
            if options.half == "tuning":
                print(f"    {question['question']}\n    -> {answer.text[:300]!r} {answer.calls}", flush=True)
    if options.records:
        options.records.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    print(f"\n{options.half} half")
    for name, values in figures.items():
        print(f"  {name:18} {sum(values):3} of {len(values)}")
    print(f"  median seconds     {sorted(seconds)[len(seconds) // 2]:.1f}")
    return 0


def ask(client: httpx.Client, url: str, question: str) -> Answer:
    """One question over `POST /responses`, streamed."""
    answer, began = Answer(), time.monotonic()
    body = {"input": question, "stream": True}
    with client.stream("POST", f"{url}/responses", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                _note(answer, json.loads(line.removeprefix("data: ")), began)
    answer.seconds = time.monotonic() - began
    return answer


def _note(answer: Answer, event: dict[str, Any], began: float) -> None:
    match event["type"]:
        case "response.output_text.delta":
            answer.first_seconds = answer.first_seconds or time.monotonic() - began
        case "response.output_item.done":
            _item(answer, event["item"])
        case "response.completed" | "response.incomplete" | "response.failed":
            answer.status = event["response"]["status"]
            answer.sources = (event["response"].get("custom_outputs") or {}).get("sources") or []
            # Which message was the answer is only known at the end.
            for item in event["response"]["output"]:
                _said(answer, item)


def _item(answer: Answer, item: dict[str, Any]) -> None:
    match item["type"]:
        case "function_call":
            answer.calls.append((item["name"], json.loads(item["arguments"])))
        case "function_call_output":
            answer.outputs.append(item["output"])


def _said(answer: Answer, item: dict[str, Any]) -> None:
    if item["type"] == "message" and item.get("phase") != "commentary":
        answer.text += "".join(part["text"] for part in item["content"])
        answer.cited += [a["url"] for part in item["content"] for a in part["annotations"]]


if __name__ == "__main__":
    sys.exit(main())
