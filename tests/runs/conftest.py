"""Stores for runs."""

from collections.abc import AsyncIterator

import pytest
from tests.runs.stored import OpenBook

from graph_agent.stores.sqlite_store import MemoryStore


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    """A store in memory."""
    store = MemoryStore()
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
async def open_book() -> AsyncIterator[OpenBook]:
    """A store in memory whose checkpoints can be read as a whole."""
    store = OpenBook()
    await store.open()
    yield store
    await store.aclose()
