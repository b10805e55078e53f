"""Any conversation, resent by a client that rewrites what it got: only what is new is added."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.runs.conversing import ANN, BOB, Conversing, call, conversing, mcp_call, result, says, thinks, user
from tests.runs.rewriting import REWRITINGS, Rewriting, text_of, without_types

from graph_agent.stores.records import StoredResponse

Item = dict[str, Any]


@dataclass
class Exchange:
    """What a person says, and what the response returns."""

    asked: list[Item]
    output: list[Item]


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text.strip())
TEXTS = st.one_of(WORDS, st.sampled_from(["yes", "y es", " no ", "Hello!", "a\n\nb"]))
QUESTIONS = st.one_of(
    TEXTS.map(user),
    TEXTS.map(lambda text: user([{"type": "input_text", "text": text}])),
    st.tuples(TEXTS, WORDS).map(
        lambda pair: user(
            [{"type": "input_text", "text": pair[0]}, {"type": "input_image", "image_url": f"https://x/{pair[1]}"}]
        )
    ),
    TEXTS.map(lambda text: {"role": "system", "content": text}),
)


@st.composite
def outputs(draw: st.DrawFn) -> list[Item]:
    """The output of a response: commentary, calls and thoughts, and at its end the answer."""
    databricks = draw(st.booleans())
    output: list[Item] = []
    for kind in draw(st.lists(st.sampled_from(["says", "calls", "thinks"]), max_size=4)):
        if kind == "says":
            output.append(says(draw(TEXTS), phase="commentary"))
        elif kind == "thinks":
            output.append(thinks(draw(TEXTS)))
        elif databricks:
            asked = call("look", draw(st.sampled_from(["{}", '{"q": 1}', '{"b": [1], "a": "x"}'])))
            output += [asked, result(asked)]
        else:
            output.append(mcp_call("look", draw(st.sampled_from(["{}", '{"q": 1}', '{"b": [1], "a": "x"}']))))
    return [*output, says(draw(TEXTS), phase="final_answer")]


ASKED = st.tuples(st.lists(QUESTIONS, max_size=1), TEXTS.map(user)).map(lambda pair: [*pair[0], pair[1]])
EXCHANGES = st.lists(
    st.builds(
        Exchange, st.tuples(st.lists(QUESTIONS, max_size=1), TEXTS.map(user)).map(lambda t: [*t[0], t[1]]), outputs()
    ),
    min_size=1,
    max_size=5,
)
CLIENTS = st.lists(st.sampled_from(REWRITINGS), min_size=1, max_size=3, unique=True)
NAMES = st.sampled_from([{}, {"custom_inputs": {"thread_id": "t"}}])

several = settings(
    # Shrinking a failure takes minutes.
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def rewritten(exchange: Exchange, client: Sequence[Rewriting]) -> list[Item]:
    """The output as the client resends it."""
    output = exchange.output
    for rewrite in client:
        output = rewrite(output)
    return without_types(output)


def texts(items: Sequence[Item]) -> list[Any]:
    return [item["content"] for item in items]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def converse(
    server: Conversing, exchanges: Sequence[Exchange], client: Sequence[Rewriting], **name: Any
) -> tuple[list[StoredResponse], list[list[Item]]]:
    """Have a conversation with a client that resends it with every turn. Returns the responses and the requests."""
    history: list[Item] = []
    responses, requests = [], []
    for exchange in exchanges:
        request = [*history, *exchange.asked]
        requests.append(request)
        responses.append(await server.ask(request, exchange.output, **name))
        history += [*exchange.asked, *rewritten(exchange, client)]
    return responses, requests


async def state_of_new_conversation(exchanges: Sequence[Exchange]) -> list[tuple[str, Any]]:
    """The state of a client that sends only what is new."""
    async with conversing() as server:
        previous: dict[str, Any] = {}
        for exchange in exchanges:
            response = await server.ask(exchange.asked, exchange.output, **previous)
            previous = {"previous_response_id": response.id}
        return server.state_of(response)


@several
@given(EXCHANGES, CLIENTS, NAMES)
def test_a_history_that_is_resent_with_every_turn_is_stored_once(
    exchanges: list[Exchange], client: list[Rewriting], name: dict[str, Any]
) -> None:
    async def test() -> None:
        async with conversing() as server:
            responses, _ = await converse(server, exchanges, client, **name)

            assert [one.parent for one in responses] == [None, *(one.id for one in responses[:-1])]
            assert [texts(one.input) for one in responses] == [texts(one.asked) for one in exchanges]
            assert server.state_of(responses[-1]) == await state_of_new_conversation(exchanges)
            assert await server.conversations() == 1

    run(test())


@several
@given(EXCHANGES, CLIENTS, NAMES, st.data())
def test_an_edit_starts_a_branch_before_it_and_a_second_attempt_a_branch_beside_it(
    exchanges: list[Exchange], client: list[Rewriting], name: dict[str, Any], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(exchanges) - 1))
    edited = data.draw(st.booleans())

    async def test() -> None:
        async with conversing() as server:
            responses, requests = await converse(server, exchanges, client, **name)
            request = [*requests[place][:-1], user("Something else.")] if edited else requests[place]
            branch = await server.ask(request, [says("Well.")], **name)

            if place == 0 and name:
                # Without a history, a request in a named conversation is its next turn.
                assert branch.parent == responses[-1].id
            else:
                assert branch.parent == (responses[place - 1].id if place else None)
            assert texts(branch.input) == texts(request[-len(exchanges[place].asked) :])
            # The first branch goes on as before.
            after = [*requests[-1], *rewritten(exchanges[-1], client), user("And?")]
            assert (await server.ask(after, [says("Yes.")], **name)).parent == responses[-1].id

    run(test())


@several
@given(EXCHANGES, CLIENTS)
def test_nobody_continues_the_conversation_of_somebody_else(exchanges: list[Exchange], client: list[Rewriting]) -> None:
    async def test() -> None:
        async with conversing() as server:
            responses, requests = await converse(server, exchanges, client)
            request = [*requests[-1], *rewritten(exchanges[-1], client), user("And?")]
            bobs = await server.ask(request, [says("Yes.")], owner=BOB)
            anns = await server.ask(request, [says("Yes.")], owner=ANN)

            assert (bobs.parent, anns.parent) == (None, responses[-1].id)
            assert bobs.input[-1]["content"] == "And?"
            assert len(bobs.input) == len(request)

    run(test())


@dataclass
class Step:
    """One request somewhere in a conversation, and how its response ends."""

    follows: int
    """Which of the responses so far, from the end."""
    way: str
    exchange: Exchange
    ending: str


STEPS = st.lists(
    st.builds(
        Step,
        follows=st.integers(0, 3),
        way=st.sampled_from(["by id", "resent", "resent in the conversation"]),
        exchange=st.builds(Exchange, TEXTS.map(lambda text: [user(text)]), outputs()),
        ending=st.sampled_from(["completed", "completed", "failed", "lost", "silent"]),
    ),
    min_size=2,
    max_size=8,
)


def spoken(items: Sequence[Item]) -> list[str]:
    return [text_of(item) for item in items if item.get("role") in ("user", "assistant")]


@several
@given(STEPS)
def test_the_graph_knows_what_the_client_knows_whatever_failed_before(steps: list[Step]) -> None:
    async def test() -> None:
        async with conversing() as server:
            name = {"custom_inputs": {"thread_id": "t"}}
            known: list[tuple[StoredResponse, list[Item]]] = []
            for step in steps:
                place = known[-1 - step.follows % len(known)] if known else None
                history = place[1] if place else []
                request: list[Item] = [*history, *step.exchange.asked]
                # Without an answer, a request in a named conversation is its next turn, and no history.
                has_answer = any(item.get("role") == "assistant" for item in history)
                fields: dict[str, Any] = name if step.way == "resent in the conversation" and has_answer else {}
                if step.way == "by id" and place:
                    request, fields = step.exchange.asked, {"previous_response_id": place[0].id}
                output = [] if step.ending in ("lost", "silent") else step.exchange.output
                response = await server.ask(
                    request,
                    output,
                    status="completed" if step.ending in ("completed", "silent") else "failed",
                    reaches_checkpoint=step.ending in ("completed", "silent"),
                    **fields,
                )
                path = [*history, *step.exchange.asked, *output]
                known.append((response, path))
                after = await server.ask([user("And?")], [says("Well.")], previous_response_id=response.id)
                heard = [text for kind, text in server.state_of(after) if kind in ("human", "ai") and text != ["look"]]
                assert [text for text in heard if isinstance(text, str)] == [*spoken(path), "And?", "Well."]

    run(test())
