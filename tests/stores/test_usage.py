"""Usage and limits in every store: what counts, what is refused, and what becomes of calls whose process is gone."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.stores.conftest import StoreOf
from tests.stores.turns import ANN, BOB

from graph_agent.identity.owner import Owner
from graph_agent.settings import NO_LIMITS, Limits
from graph_agent.stores.store import Store
from graph_agent.stores.usage_records import (
    Admission,
    Call,
    Charge,
    Grant,
    Later,
    Outcomes,
    Reached,
    Reservation,
    Standing,
    UsageBatch,
)

pytestmark = pytest.mark.anyio

NOON = 1_796_040_000.0
"""2026-11-30 12:00:00 UTC."""

TODAY = "2026-11-30"


def call(owner: Owner = ANN, **fields: Any) -> Call:
    return Call(**{"day": TODAY, "owner": owner, "graph": "assistant", "model": "big"} | fields)


def hold(id_: str, tokens: int, owner: Owner = ANN) -> Reservation:
    return Reservation(id=id_, call=call(owner), tokens=tokens)


def spent(tokens: int, owner: Owner = ANN, *, hold: str | None = None, **fields: Any) -> Charge:
    return Charge(call=call(owner, **fields), input_tokens=tokens, reservation=hold)


async def apply(store: Store, limits: Limits = NO_LIMITS, *, now: float = NOON, **fields: Any) -> Outcomes:
    options: dict[str, Any] = {"busy_seconds": 60.0, "usage_days": 400} | fields
    return await store.usage.apply(UsageBatch(limits=limits, now=now, **options))


async def reserve(store: Store, limits: Limits, *holds: Reservation, **fields: Any) -> Sequence[Any]:
    return (await apply(store, limits, reservations=holds, **fields)).reservations


async def admit(store: Store, limits: Limits, owner: Owner = ANN, *, now: float = NOON, **fields: Any) -> Any:
    return (await apply(store, limits, now=now, admissions=[Admission(owner=owner, **fields)])).admissions[0]


async def table(store: Store, **fields: Any) -> list[tuple[Any, ...]]:
    rows = await store.usage.usage(**{"since": "0000-00-00", "until": "9999-99-99"} | fields)
    return [(row.day, row.user, row.graph, row.model, row.calls, row.input_tokens, row.lost_tokens) for row in rows]


async def test_usage_is_summed_by_day_owner_graph_and_model(store: Store) -> None:
    await apply(store, charges=[spent(10), spent(5), spent(1, BOB), spent(2, model="small")])
    await apply(store, charges=[spent(3), spent(7, day="2026-11-29"), spent(4, graph="other")])
    assert await table(store) == [
        ("2026-11-29", "ann", "assistant", "big", 1, 7, 0),
        (TODAY, "ann", "assistant", "big", 3, 18, 0),
        (TODAY, "ann", "assistant", "small", 1, 2, 0),
        (TODAY, "ann", "other", "big", 1, 4, 0),
        (TODAY, "bob", "assistant", "big", 1, 1, 0),
    ]
    assert await table(store, owner="bob") == [(TODAY, "bob", "assistant", "big", 1, 1, 0)]
    assert [row[0] for row in await table(store, until="2026-11-29")] == ["2026-11-29"]


async def test_sums_are_made_by_any_keys_and_the_greatest_are_found(store: Store) -> None:
    await apply(store, charges=[spent(10), spent(5, graph="other"), spent(20, BOB), spent(1, BOB, day="2026-11-29")])

    async def sums(*by: Any, **fields: Any) -> list[tuple[Any, ...]]:
        rows = await store.usage.usage(since="0000-00-00", until="9999-99-99", by=by, **fields)
        return [(row.day, row.user, row.graph, row.model, row.calls, row.total_tokens) for row in rows]

    assert await sums("user") == [(None, "ann", None, None, 2, 15), (None, "bob", None, None, 2, 21)]
    assert await sums("user", most=1) == [(None, "bob", None, None, 2, 21)]
    assert [row[:3] for row in await sums("graph", "day")] == [
        ("2026-11-29", None, "assistant"),
        (TODAY, None, "assistant"),
        (TODAY, None, "other"),
    ]
    assert await sums(owner="ann") == [(None, None, None, None, 2, 15)]
    assert await sums(owner="eve") == []


async def test_the_user_of_any_kind_is_found_by_the_name_alone(store: Store) -> None:
    await apply(
        store, charges=[spent(1, Owner("apps:eve")), spent(2, Owner("local:eve")), spent(4, Owner("apps:steve"))]
    )
    assert [row[1] for row in await table(store, owner="eve")] == ["apps:eve", "local:eve"]


async def test_a_user_whose_id_looks_like_the_key_of_another_one_is_not_taken_for_that_one(store: Store) -> None:
    await apply(store, charges=[spent(1, Owner("apps:eve")), spent(2, Owner("local:apps:eve"))])
    assert [row[1] for row in await table(store, owner="apps:eve")] == ["apps:eve"]


async def test_a_call_may_begin_while_all_that_is_spent_and_reserved_leaves_its_tokens(store: Store) -> None:
    limits = Limits(user_tokens_per_day=100)
    await apply(store, limits, charges=[spent(30)])
    first, second, third, fourth = await reserve(
        store, limits, hold("a", 40), hold("b", 30), hold("c", 1), hold("d", 71)
    )
    assert (first, second) == (None, None)
    # What others have reserved may be left in the end. What is spent is not.
    assert isinstance(third, Later)
    assert isinstance(fourth, Reached)
    assert (fourth.whose, fourth.window.limit, fourth.window.left) == ("user", 100, 70)
    assert await reserve(store, limits, hold("e", 100, BOB)) == [None]


async def test_a_settled_call_gives_back_what_it_has_not_used(store: Store) -> None:
    limits = Limits(tokens_per_day=100)
    assert await reserve(store, limits, hold("a", 100)) == [None]
    assert isinstance((await reserve(store, limits, hold("b", 90, BOB)))[0], Later)
    settled = [spent(9, hold="a")]
    # The same batch again, as after a lost connection, changes nothing.
    for _ in range(2):
        await apply(store, limits, charges=settled)
    [refused] = await reserve(store, limits, hold("c", 92, BOB))
    assert (refused.whose, refused.window.left) == ("all", 91)
    assert await reserve(store, limits, hold("d", 91, BOB)) == [None]
    assert [row[4:6] for row in await table(store)] == [(1, 9)]


async def test_a_call_whose_process_is_gone_counts_as_a_whole_until_it_is_settled_after_all(store: Store) -> None:
    limits = Limits(user_tokens_per_day=100)
    await reserve(store, limits, hold("dead", 60), busy_seconds=-1.0)
    [refused] = await reserve(store, limits, hold("a", 41))
    assert isinstance(refused, Reached)
    assert refused.window.left == 40
    assert await table(store) == [(TODAY, "ann", "assistant", "big", 0, 0, 60)]
    await apply(store, limits, charges=[spent(10, hold="dead")])
    assert await table(store) == [(TODAY, "ann", "assistant", "big", 1, 10, 0)]
    assert await reserve(store, limits, hold("b", 90)) == [None]


async def test_a_renewed_reservation_is_not_lost(store: Store) -> None:
    limits = Limits(user_tokens_per_day=100)
    await reserve(store, limits, hold("a", 60), busy_seconds=0.0)
    await apply(store, limits, renewed=["a"])
    assert isinstance((await reserve(store, limits, hold("b", 41)))[0], Later)
    assert await table(store) == []


async def test_requests_are_refused_until_their_minute_or_day_is_over(store: Store) -> None:
    limits = Limits(user_requests_per_minute=2, requests_per_day=4)
    left = [(await admit(store, limits)).requests.left for _ in range(2)]
    assert left == [1, 0]
    refused = await admit(store, limits)
    assert (refused.whose, refused.unit, refused.period) == ("user", "requests", "minute")
    assert refused.window.resets_at == NOON + 60
    # What was refused does not count, and what does not count is not refused.
    assert isinstance(await admit(store, limits, counts=False), Standing)
    for now in (NOON + 60, NOON + 61):
        assert isinstance(await admit(store, limits, now=now), Standing)
    refused = await admit(store, limits, BOB, now=NOON + 120)
    assert (refused.whose, refused.period, refused.window.resets_at) == ("all", "day", NOON + 43_200)
    assert isinstance(await admit(store, limits, BOB, now=NOON + 43_200), Standing)


async def test_a_request_is_refused_if_no_token_is_left_unless_its_run_can_ask(store: Store) -> None:
    limits = Limits(user_tokens_per_day=10, user_extra_tokens=5)
    await apply(store, limits, charges=[spent(10)])
    assert isinstance(await admit(store, limits), Reached)
    assert isinstance(await admit(store, limits, asks=True), Standing)
    everybody = Limits(tokens_per_day=10)
    assert isinstance(await admit(store, everybody, BOB, asks=True), Reached)


async def test_an_approval_raises_the_limit_of_its_user_once_and_for_one_day(store: Store) -> None:
    limits = Limits(user_tokens_per_day=10, user_extra_tokens=5)
    await apply(store, limits, charges=[spent(10), spent(10, BOB)])
    grant = Grant(id="mcpr_1", owner=ANN, tokens=5)
    for _ in range(2):
        await apply(store, limits, grants=[grant])
    assert isinstance((await reserve(store, limits, hold("a", 6)))[0], Reached)
    assert isinstance((await reserve(store, limits, hold("b", 5, BOB)))[0], Reached)
    assert await reserve(store, limits, hold("c", 5)) == [None]
    assert isinstance(await admit(store, limits, now=NOON + 86_400), Standing)
    tomorrow = await admit(store, limits, now=NOON + 86_400)
    assert tomorrow.tokens.limit == 10


async def test_what_is_old_is_deleted_and_what_counts_today_is_not(store: Store) -> None:
    limits = Limits(user_tokens_per_day=100, user_requests_per_minute=9)
    await apply(store, limits, charges=[spent(50), spent(1, day="2026-10-01")])
    await admit(store, limits)
    await apply(store, limits, cleans=True, usage_days=30)
    assert [row[0] for row in await table(store)] == [TODAY]
    assert (await admit(store, limits)).tokens.left == 50
    assert (await admit(store, limits)).requests.left == 6


async def test_whoever_deletes_everything_leaves_sums_without_a_name_and_does_not_begin_anew(store: Store) -> None:
    limits = Limits(user_tokens_per_day=10)
    await apply(store, limits, charges=[spent(10), spent(4, BOB)])
    await store.forget(ANN)
    await store.forget(BOB)
    assert await table(store) == [(TODAY, "deleted", "assistant", "big", 2, 14, 0)]
    assert isinstance(await admit(store, limits), Reached)


async def test_processes_that_share_a_store_never_give_away_more_than_there_is(store_of: StoreOf) -> None:
    limits = Limits(tokens_per_day=1000)
    stores = [store_of() for _ in range(3)]
    for one in stores:
        await one.open()

    async def work(process: int) -> int:
        made = 0
        for turn in range(10):
            id_ = f"{process}_{turn}"
            [outcome] = await reserve(stores[process % 3], limits, hold(id_, 90, (ANN, BOB)[turn % 2]))
            if outcome is None:
                made += 1
                await apply(stores[process % 3], limits, charges=[spent(80, (ANN, BOB)[turn % 2], hold=id_)])
        return made

    made = sum(await asyncio.gather(*map(work, range(6))))
    assert sum(row[5] for row in await table(stores[0])) == made * 80
    assert 0 < made * 80 <= 1000
    [refused] = await reserve(stores[1], limits, hold("last", 1001))
    assert refused.window.left == 1000 - made * 80
    for one in stores:
        await one.aclose()
