"""How many of a request's own values are hidden, and what that costs the others."""

import secrets
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import serving

from graph_agent.redaction import Redactor, redact, with_hidden_values
from graph_agent.redaction.known_secrets import KnownSecrets

pytestmark = pytest.mark.anyio

TraceFunction = Callable[[FrameType, str, Any], Any]


def cookies(count: int) -> str:
    return "; ".join(f"session{number}={secrets.token_hex(16)}" for number in range(count))


async def test_a_request_with_more_secrets_than_are_looked_for_is_refused_before_anything_else() -> None:
    with serving() as service:
        async with service.client() as client:
            answer = await client.post("/responses", json={"input": "Hi"}, headers={"cookie": cookies(65)})
            enough = await client.post("/responses", json={"input": "Hi"}, headers={"cookie": cookies(64)})
            long = await client.get("/agent/info", headers={"cookie": f"session={'a1b2' * 8000};sid={'c3d4' * 9000}"})
    assert answer.status_code == long.status_code == 431
    assert answer.json()["error"]["code"] == "too_many_credentials"
    assert "cookies" in answer.json()["error"]["message"]
    assert answer.headers["x-request-id"].startswith("req_")
    assert enough.status_code == 200


async def test_a_value_sent_twice_counts_once() -> None:
    with serving() as service:
        async with service.client() as client:
            twice = "; ".join([cookies(1)] * 100)
            assert (await client.get("/agent/info", headers={"cookie": twice})).status_code == 200


WORDS = [
    f"{word} "
    for word in ["The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and", "goes", "home", "again"]
] * 40


def steps_per_text() -> int:
    """How many instructions of Python the text takes. Unlike time, a busy machine does not change it."""
    steps = 0

    def step(frame: FrameType, event: str, arg: Any) -> TraceFunction:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return step

    redactor, before = Redactor(), sys.gettrace()
    sys.settrace(step)
    try:
        for word in WORDS:
            redactor.feed(word)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("count", [64, 2_000])
def test_many_hidden_values_cost_a_token_little(count: int) -> None:
    alone = steps_per_text()
    with with_hidden_values([secrets.token_hex(16) for _ in range(count)]):
        assert steps_per_text() < 6 * alone


@pytest.mark.parametrize("value", ["a" * 8_000, "ab" * 4_000, "session-" * 1_000])
def test_a_value_that_repeats_itself_costs_no_more_than_its_length(value: str) -> None:
    def seconds(value: str) -> float:
        text = f"{value[:-1]}! {value[:200]}"
        with with_hidden_values([value]):
            redactor, began = Redactor(), time.thread_time()
            redactor.feed(text)
            redactor.flush()
            return time.thread_time() - began

    small, great = (min(seconds(value[:length]) for _ in range(3)) for length in (1_000, 8_000))
    assert great < 24 * small + 0.01


def test_what_is_hidden_is_written_in_as_many_forms_however_often_it_is_handed_on() -> None:
    value = 'a "known" välue/%'
    once = KnownSecrets([value])
    with with_hidden_values(once), with_hidden_values([value, "another-known-value"]), with_hidden_values(once):
        from graph_agent.redaction import current_hidden_values

        here = current_hidden_values()
    assert here is not None
    assert set(here.values) == {*once.values, "another-known-value"}


@given(st.text(alphabet="ab-", min_size=8, max_size=24), st.text(alphabet="ab- ", max_size=12), st.data())
def test_a_hidden_value_never_comes_through_whatever_it_repeats(value: str, around: str, data: st.DataObject) -> None:
    text = f"{around}{value}{around}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    with with_hidden_values([value]):
        redactor = Redactor()
        pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        shown = "".join(map(redactor.feed, pieces)) + redactor.flush()
        assert value not in redact(text)
        assert value not in shown


@pytest.mark.parametrize("length", [8, 19, 20, 64, 500, 4_000])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_hidden_value_of_any_length_is_one_marker_however_it_is_cut(length: int, size: int) -> None:
    value = "Zq" + secrets.token_hex(length)[: length - 2]
    text = f"It is {value}, I think."
    with with_hidden_values([value]):
        redactor = Redactor()
        shown = "".join(redactor.feed(text[at : at + size]) for at in range(0, len(text), size)) + redactor.flush()
    assert value[2:] not in shown
    assert shown.count("[redacted known secret]") == 1
    assert shown.endswith(", I think.")
    assert len(shown) < 60
