"""What clients do to the output of a response before they resend it."""

import json
from collections.abc import Callable, Sequence
from typing import Any

Item = dict[str, Any]
Rewriting = Callable[[Sequence[Item]], list[Item]]


def text_of(item: Item) -> str:
    content = item["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def is_speech(item: Item) -> bool:
    return item.get("role") == "assistant"


def as_returned(output: Sequence[Item]) -> list[Item]:
    return list(output)


def without_ids(output: Sequence[Item]) -> list[Item]:
    kept = ("mcp_call",)
    return [item if item["type"] in kept else {k: v for k, v in item.items() if k != "id"} for item in output]


def bare_messages(output: Sequence[Item]) -> list[Item]:
    """The short form: a role and a string."""
    return [
        {"type": "message", "role": "assistant", "content": text_of(item)} if is_speech(item) else item
        for item in output
    ]


def without_tools_and_thoughts(output: Sequence[Item]) -> list[Item]:
    return [item for item in output if is_speech(item)]


def without_thoughts(output: Sequence[Item]) -> list[Item]:
    return [item for item in output if item["type"] != "reasoning"]


def without_commentary(output: Sequence[Item]) -> list[Item]:
    answer = [item for item in output if is_speech(item)][-1:]
    return [item for item in output if not is_speech(item) or item in answer]


def merged(output: Sequence[Item]) -> list[Item]:
    """All texts in one message, behind the calls."""
    texts = [text_of(item) for item in output if is_speech(item)]
    return [
        *(item for item in output if not is_speech(item)),
        {"type": "message", "role": "assistant", "content": "\n\n".join(texts)},
    ]


def with_parts_merged(output: Sequence[Item]) -> list[Item]:
    parts = [{"type": "output_text", "text": text_of(item)} for item in output if is_speech(item)]
    message = {"type": "message", "role": "assistant", "content": parts}
    return [*(item for item in output if not is_speech(item)), message]


def stripped(output: Sequence[Item]) -> list[Item]:
    return [{**item, "content": text_of(item).strip()} if is_speech(item) else item for item in output]


def padded(output: Sequence[Item]) -> list[Item]:
    return [{**item, "content": f"{text_of(item)} \n"} if is_speech(item) else item for item in output]


def calls_as_pairs(output: Sequence[Item]) -> list[Item]:
    """An `mcp_call` as a call and its output, under an id that the client made up."""
    rewritten: list[Item] = []
    for item in output:
        if item["type"] != "mcp_call":
            rewritten.append(item)
            continue
        call_id = f"made-up-{item['id']}"
        # Many clients parse the arguments and write them again.
        arguments = json.dumps(json.loads(item["arguments"]), indent=1)
        rewritten += [
            {"type": "function_call", "call_id": call_id, "name": item["name"], "arguments": arguments},
            {"type": "function_call_output", "call_id": call_id, "output": item["output"]},
        ]
    return rewritten


def pairs_as_calls(output: Sequence[Item]) -> list[Item]:
    results = {item["call_id"]: item["output"] for item in output if item["type"] == "function_call_output"}
    rewritten: list[Item] = []
    for item in output:
        if item["type"] == "function_call":
            call = {"type": "mcp_call", "id": item["call_id"], "name": item["name"], "arguments": item["arguments"]}
            rewritten.append({**call, "server_label": "x", "output": results[item["call_id"]]})
        elif item["type"] != "function_call_output":
            rewritten.append(item)
    return rewritten


def without_types(output: Sequence[Item]) -> list[Item]:
    """Messages as the Databricks provider sends them. Only at last, because the others look at the type."""
    return [{k: v for k, v in item.items() if k != "type"} if is_speech(item) else item for item in output]


def calls_first(output: Sequence[Item]) -> list[Item]:
    return [*(item for item in output if not is_speech(item)), *(item for item in output if is_speech(item))]


REWRITINGS: Sequence[Rewriting] = (
    as_returned,
    without_ids,
    bare_messages,
    without_tools_and_thoughts,
    without_thoughts,
    without_commentary,
    merged,
    with_parts_merged,
    stripped,
    padded,
    calls_as_pairs,
    pairs_as_calls,
    calls_first,
)
