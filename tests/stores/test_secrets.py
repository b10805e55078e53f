"""What the processes of a store share and nobody else may know."""

import asyncio

import pytest
from tests.stores.conftest import StoreOf

pytestmark = pytest.mark.anyio


async def test_processes_that_make_a_secret_at_once_have_the_same_one(store_of: StoreOf) -> None:
    stores = [store_of() for _ in range(4)]
    try:
        for one in stores:
            await one.open()
        made = [bytes([number]) * 32 for number in range(len(stores))]
        found = await asyncio.gather(*(one.secret("k", it) for one, it in zip(stores, made, strict=True)))
        assert len(set(found)) == 1
        assert found[0] in made
        assert await stores[0].secret("other", b"another") == b"another"
    finally:
        for one in stores:
            await one.aclose()
    later = store_of()
    await later.open()
    assert await later.secret("k", b"too late") == found[0]
    await later.aclose()
