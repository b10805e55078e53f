"""Reading a request takes time that is linear in its length, and lets others have their turn meanwhile."""

import gc
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.json_decoding import MAX_VALUES, MOST_AT_ONCE, UnusableJson, decode
from graph_agent.protocol.messages import to_items, to_messages
from graph_agent.protocol.requests import MAX_ITEMS, parse_request

Item = dict[str, Any]
ASK = {"type": "message", "id": "ask", "role": "user", "content": "hi"}


def call(number: int) -> Item:
    return {"type": "function_call", "id": f"fc_{number}", "call_id": f"c{number}", "name": "f", "arguments": "{}"}


def result(number: int) -> Item:
    return {"type": "function_call_output", "id": f"fco_{number}", "call_id": f"c{number}", "output": "3"}


def silent(number: int) -> Item:
    return {"type": "message", "id": f"m{number}", "role": "assistant", "content": ""}


def earlier_results_beside_an_open_turn(count: int) -> list[Item]:
    """Half of the calls are answered only while a turn of the other half is open."""
    half = count // 2
    spoken = {**silent(0), "content": "Wait."}
    calls, results = [call(n) for n in range(count)], [result(n) for n in range(count)]
    return [*calls[:half], spoken, *calls[half:], *results]


def calls_said_again(count: int) -> list[Item]:
    """One call, with arguments of much white space, and the same without, again and again."""
    first = {**call(0), "arguments": "{" + " " * 50 * count + "}"}
    return [first, *[call(0)] * count, ASK]


HISTORIES: dict[str, Callable[[int], Sequence[Item]]] = {
    "empty answers": lambda count: [*map(silent, range(count)), ASK],
    "empty answers and people": lambda count: [
        one for n in range(count) for one in (silent(n), {**ASK, "id": f"ask{n}"})
    ],
    "empty answers and results": lambda count: [one for n in range(count) for one in (silent(n), result(n))],
    "empty answers and unknown items": lambda count: [
        *[one for n in range(count) for one in (silent(n), {"type": "hologram"})], ASK
    ],
    "empty answers around one call": lambda count: [call(0), *map(silent, range(count)), result(0)],
    "unknown items": lambda count: [*[{"type": "hologram"}] * count, ASK],
    "one open turn": lambda count: [*map(call, range(count)), *map(result, range(count))],
    "results in reverse": lambda count: [*map(call, range(count)), *map(result, reversed(range(count)))],
    "earlier results beside an open turn": earlier_results_beside_an_open_turn,
    "results without calls": lambda count: [*map(result, range(count))],
    "one call said again": calls_said_again,
    "one id": lambda count: [ASK] * count,
    "calls of a server": lambda count: [
        *({"type": "mcp_call", "id": f"m{n}", "name": "f", "arguments": "{}", "output": "3"} for n in range(count)), ASK
    ],
    "approvals": lambda count: [
        *({"type": "mcp_approval_request", "id": f"a{n}", "name": "f", "arguments": "{}"} for n in range(count)),
        *({"type": "mcp_approval_response", "approval_request_id": f"a{n}", "approve": True} for n in range(count)),
    ],
    "parts": lambda count: [{**ASK, "content": [{"type": "input_text", "text": "hi"}] * count}],
}  # fmt: skip


def cost(work: Callable[[], object], times: int) -> float:
    """Seconds of this thread; the best of several times, as other work disturbs caches."""
    found = []
    for _ in range(times):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found)


def growth(
    work: Callable[[list[Any]], object], history: Callable[[int], list[Any]], count: int, times: int = 3
) -> float:
    """How much longer the work takes on twice as many items."""
    small, great = history(count), history(2 * count)
    return cost(lambda: work(great), times) / cost(lambda: work(small), times)


@pytest.mark.parametrize("name", HISTORIES)
def test_twice_the_history_takes_less_than_three_times_as_long(name: str) -> None:
    ratio = growth(lambda items: to_items(to_messages(items)), HISTORIES[name], 2_000, 1)
    again = 0
    while ratio >= 3 and again < 3:
        # Once more, by more: what is quadratic takes four times as long, each time.
        ratio, again = growth(to_messages, HISTORIES[name], 4_000), again + 1
    assert ratio < 3


@pytest.mark.parametrize("name", HISTORIES)
def test_a_long_history_is_still_kept_whole(name: str) -> None:
    items = [dict(item) for item in HISTORIES[name](50)]
    kept = to_items(to_messages(items))
    assert sorted(json.dumps(item, sort_keys=True) for item in kept) == sorted(
        json.dumps(item, sort_keys=True) for item in items
    )


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


GREAT: dict[str, Callable[[], bytes]] = {
    "users": lambda: body(input=[{"role": "user", "content": "word " * 80}] * 9_000),
    "empty answers": lambda: body(input=[*({"role": "assistant", "content": ""} for _ in range(9_000)), ASK]),
    "parts": lambda: body(input=[{"role": "user", "content": [{"type": "input_text", "text": "hi"}] * 9}] * 5_000),
    "lists": lambda: body(input="hi", custom_inputs={"x": [[]] * 290_000}),
    "numbers": lambda: body(input="hi", custom_inputs={"x": [1.5] * 290_000}),
    "strings": lambda: body(input="hi", custom_inputs={"x": [""] * 290_000}),
    "keys": lambda: body(input="hi", custom_inputs={"x": {str(n): n for n in range(290_000)}}),
    "too many values": lambda: body(input="hi", custom_inputs={"x": [[]] * 900_000}),
    "too many items": lambda: body(input=[{"type": "x"}] * 60_000),
}
"""Made by the tests, because every process that collects them would make them."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Its rounds walk over what all tests have imported."""
    gc.disable()
    yield
    gc.enable()


def turns_while_reading(name: str, read: bytes) -> list[float]:
    """The CPU time of this thread at the start, at each turn of others, and at the end."""
    turns = [time.thread_time()]
    try:
        parse_request(read, graphs=["g"], pulse=lambda: turns.append(time.thread_time()))
    except InvalidRequest:
        assert name.startswith("too many")
    return [*turns, time.thread_time()]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", GREAT)
def test_others_have_their_turn_while_a_great_body_is_read(name: str) -> None:
    found = []
    read = GREAT[name]()
    for _ in range(3):
        turns = turns_while_reading(name, read)
        assert len(turns) > 1_000
        longest = max(after - before for before, after in itertools.pairwise(turns))
        # Where other processes take the caches, all of the reading takes more CPU time, the longest step too.
        most = max(0.1, (turns[-1] - turns[0]) / 10)
        if longest < most:
            return
        found.append((longest, most))
    pytest.fail(f"the longest steps in seconds, and the most that is allowed: {found}")


class Gone(Exception):
    """Nobody waits for the result."""


@pytest.mark.parametrize("name", GREAT)
def test_reading_ends_when_nobody_waits_for_it(name: str) -> None:
    after = 100

    def pulse() -> None:
        nonlocal after
        after -= 1
        if not after:
            raise Gone

    with pytest.raises(Gone):
        parse_request(GREAT[name](), graphs=["g"], pulse=pulse)


def test_a_history_has_an_end() -> None:
    most = body(input=[ASK] * MAX_ITEMS)
    assert len(parse_request(most, graphs=["g"]).messages) == MAX_ITEMS
    with pytest.raises(InvalidRequest, match=f"at most {MAX_ITEMS} items; got {MAX_ITEMS + 1}") as refused:
        parse_request(body(input=[ASK] * (MAX_ITEMS + 1)), graphs=["g"])
    assert refused.value.param == "input"


def test_the_arguments_of_all_calls_have_an_end_together() -> None:
    calls = [{**call(n), "arguments": json.dumps([[]] * (MAX_VALUES // 4))} for n in range(6)]
    with pytest.raises(InvalidRequest, match="contain more than") as refused:
        parse_request(body(input=[*calls, ASK]), graphs=["g"])
    assert refused.value.param == "input[1].arguments"


VALUES: list[Any] = [None, True, 1, -1.5, 10**30, "", 'a"b\\c\n\u2028é😀', [], {}, [[1], {"a": [None]}], {"é": {"": 0}}]


@pytest.mark.parametrize("value", VALUES)
def test_many_values_are_decoded_as_few_are(value: Any) -> None:
    many = {"many": [value] * (MOST_AT_ONCE + 1)}
    for ascii_only in (True, False):
        assert decode(json.dumps(many, ensure_ascii=ascii_only)) == many


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ("NaN", "NaN or Infinity"),
        ("1e999", "too large"),
        ("9" * 5000, "too long"),
        ("[1", "is not valid JSON"),
        ("]", "is not valid JSON"),
        ("'a'", "is not valid JSON"),
        ('"a\x01"', "is not valid JSON"),
        ('"\\ud800"', "surrogate"),
        ("[" * 70 + "]" * 70, "levels deep"),
        ("[" * 5000, "levels deep"),
        ('{"a" 1}', "is not valid JSON"),
        ("1,", "is not valid JSON"),
    ],
)
def test_a_flaw_among_many_values_is_found_as_among_few(flaw: str, reason: str) -> None:
    for few in ("[", "[" + "1," * (MOST_AT_ONCE + 1)):
        with pytest.raises(UnusableJson) as refused:
            decode(few + flaw + "]")
        assert reason in refused.value.reason
