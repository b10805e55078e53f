"""Messages and long texts of a run are redacted once, with the result that redacting each value has."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command

from graph_agent.redaction import with_hidden_values
from graph_agent.tracing.shared_parts import shared_parts, with_shared_parts
from graph_agent.tracing.values import to_json

TOKEN = "dapi" + "0123456789abcdef" * 2
PROSE = "The quick brown fox jumps over the lazy dog, and the token ring goes on. " * 3
KNOWN = "sunflower of the request"
CALL = {"name": "add", "args": {"text": PROSE, "password": "correct horse"}, "id": "c1", "type": "tool_call"}


def both(value: Any) -> tuple[Any, Any]:
    """What the JSON of the value says alone, and as the second span of a run that has it."""
    alone = told(to_json(value))
    with with_shared_parts():
        to_json({"before": value})
        return alone, told(to_json(value))


def told(text: str) -> Any:
    # A text may be redacted as a whole or in its parts, which have other markers.
    return json.loads(re.sub(r"\[redacted [A-Za-z ]+\]", "[redacted]", text))


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [HumanMessage(PROSE), AIMessage("", tool_calls=[CALL]), ToolMessage(PROSE, tool_call_id="c1")]},
        {"messages": [HumanMessage(f"{PROSE} {TOKEN} {KNOWN}")], "content": f"{TOKEN} {PROSE}", "n": 1},
        {"token": PROSE, "password": f"{PROSE} {PROSE}", "deep": [{"apiKey": PROSE, "text": PROSE}]},
        {"content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A1b2' * 200}"}}, PROSE]},
        {"content": f'{PROSE} {{"password": "hunter2!", "api_key": "a1b2c3d4e5f6g7h8"}}'},
        [Document(PROSE, metadata={"secret": PROSE, "url": "https://a/b"}, id="1")] * 3,
        Command(update={"messages": [AIMessage(PROSE)]}, goto="next"),
        {"content": "\0", "text": PROSE},
        {"\0": "\0", "text": [PROSE, "\0", f"\0{PROSE}", '"\\u0000"']},
        {"secret": [PROSE, "short"], "text": [PROSE]},
        {"text": PROSE, "number": 2**80, "half": "\ud800"},
        {"text": "é" * 200_000, "more": PROSE},
        {"rows": [[PROSE, number] for number in range(3_000)]},
        PROSE,
        [[[[[[[[[[[[[[[PROSE]]]]]]]]]]]]]]],
    ],
    ids=range(15),
)
def test_the_json_is_that_of_the_value_alone(value: Any) -> None:
    with with_hidden_values([KNOWN]):
        alone, shared = both(value)
    assert shared == alone
    assert "0123456789abcdef" not in json.dumps(shared)
    assert "hunter2!" not in json.dumps(shared)
    assert "correct horse" not in json.dumps(shared)
    assert KNOWN not in json.dumps(shared)


NAMES = ("content", "text", "token", "db_password", "messages", "result", "passage", "url", "secret_key", "x y", "\0")
TEXTS = (PROSE, TOKEN, f"{PROSE}{TOKEN}", f'"token": "{TOKEN}"', "short", "\0", "x" * 95, "x" * 96, f"key={TOKEN}")


def made_up(draw: random.Random, levels: int = 4) -> Any:
    kinds: list[Callable[[], Any]] = [lambda: draw.choice(TEXTS), lambda: draw.randint(0, 9)]
    if levels:
        kinds += [
            lambda: HumanMessage(draw.choice(TEXTS)),
            lambda: [made_up(draw, levels - 1) for _ in range(draw.randint(0, 3))],
            lambda: {draw.choice(NAMES): made_up(draw, levels - 1) for _ in range(draw.randint(0, 3))},
        ] * 2
    return draw.choice(kinds)()


@pytest.mark.parametrize("seed", range(200))
def test_the_json_of_any_value_is_that_of_the_value_alone(seed: int) -> None:
    alone, shared = both(made_up(random.Random(seed)))
    assert shared == alone
    assert TOKEN not in json.dumps(shared)


def test_a_message_that_many_spans_have_is_redacted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = HumanMessage(PROSE)
    redacted: list[str] = []

    def noting(text: str) -> str:
        redacted.append(text)
        return text

    monkeypatch.setattr("graph_agent.tracing.shared_parts.redact_json", noting)
    with with_shared_parts():
        written = {to_json({"messages": [said, HumanMessage(str(number))]}) for number in range(5)}
    assert len(written) == 5
    assert sum(PROSE in text for text in redacted) == 1


def test_what_one_run_hides_does_not_hide_in_the_next() -> None:
    value = {"content": f"{PROSE} {KNOWN}"}
    with with_hidden_values([KNOWN]), with_shared_parts():
        hidden = to_json(value)
    with with_shared_parts():
        shown = to_json(value)
    assert KNOWN not in hidden
    assert KNOWN in shown
    assert shared_parts() is None
