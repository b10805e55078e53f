"""Runs of several processes that share a store, and a limit of tokens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.graphs.scripted import says
from tests.runs.registered import ANN
from tests.runs.running import chain, speaking
from tests.runs.test_limits import RESERVED, Account
from tests.stores.conftest import StoreOf

from graph_agent.identity.owner import Owner
from graph_agent.testing import Usage, Wait

pytestmark = pytest.mark.anyio

AccountOf = Callable[..., Awaitable[Account]]


@pytest.fixture
async def account_of(store_of: StoreOf) -> AsyncIterator[AccountOf]:
    """The account of a new process on the same store."""
    async with AsyncExitStack() as closing:

        async def new(**limits: Any) -> Account:
            store = store_of()
            await store.open()
            closing.push_async_callback(store.aclose)
            account = Account(store, **limits)
            closing.push_async_callback(account.ledger.aclose)
            return account

        yield new


async def test_two_hundred_runs_of_one_user_in_two_processes_use_what_is_left_and_not_more(
    account_of: AccountOf,
) -> None:
    accounts = [await account_of(user_tokens_per_day=3_000) for _ in range(2)]
    graph = chain(speaking(says("Hello.", usage=Usage(20, 30))))
    ends = await asyncio.gather(*(accounts[number % 2].run(graph) for number in range(200)))
    for account in accounts:
        await account.ledger.aclose()
    [row] = await accounts[0].table()
    assert 3_000 - RESERVED < row.input_tokens + row.output_tokens <= 3_000
    assert sum(end["type"] == "response.completed" for end in ends) == row.calls


async def test_the_calls_of_a_process_that_is_gone_count_as_a_whole(account_of: AccountOf) -> None:
    limits = {"user_tokens_per_day": 2 * RESERVED}
    dead = await account_of(busy_seconds=0.0, **limits)
    began = asyncio.Event()
    run = await dead.start(chain(speaking(says(Wait(reached=began)))))
    await began.wait()
    # It has reserved tokens, and says nothing any more. Another one does.
    alive = await account_of(**limits)
    kinds = [(await alive.run(chain(speaking(says("Hello.", usage=Usage(20, 80))))))["type"] for _ in range(2)]
    assert kinds == ["response.completed", "response.failed"]
    [row] = await alive.table()
    assert 100 < row.lost_tokens < RESERVED
    # It was not gone after all: what it has really used takes the place of that.
    await run.cancel()
    await dead.ledger.aclose()
    [row] = await alive.table()
    assert row.lost_tokens == 0
    assert (await alive.run(chain(speaking(says("Hello.")))))["type"] == "response.completed"


async def test_usage_is_written_when_the_store_is_there_again(store_of: StoreOf) -> None:
    store = store_of()
    account = Account(store)
    await account.run(chain(speaking(says("Hello."))))
    await store.open()
    [row] = await account.table()
    assert (row.user, row.input_tokens) == (Owner.of(ANN).key, 7)
    await store.aclose()
