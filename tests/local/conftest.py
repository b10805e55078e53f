"""Fixtures for `graph_agent.local`: an embedder without files, and apps on a socket."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from numpy.typing import NDArray
from starlette.types import ASGIApp

from graph_agent.serving.workers import listening_socket
from graph_agent.testing import on_loopback


class HashingEmbedder:
    """Texts that share words have a positive cosine. It needs no files and no network, and is the same everywhere."""

    dimension = 256

    def __init__(self, name: str = "hashing") -> None:
        self.name = name
        self.embedded: list[str] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                vectors[row, hashlib.sha256(word.encode()).digest()[0]] += 1.0
        unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1.0)
        return unit


@asynccontextmanager
async def served_here(app: ASGIApp) -> AsyncIterator[str]:
    """Run the app in this event loop and yield its URL, for tests that watch the app."""
    listener = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def serve() -> Callable[[ASGIApp], AbstractContextManager[str]]:
    """`with serve(app) as url:` runs the app on a loopback socket."""
    return on_loopback


@pytest.fixture
def serve_here() -> Callable[[ASGIApp], AbstractAsyncContextManager[str]]:
    """`async with serve_here(app) as url:` runs the app in the event loop of the test."""
    return served_here


def folder_of(folder: Path, documents: Mapping[str, str]) -> Path:
    """A new folder with these documents: file name -> text."""
    folder.mkdir()
    for name, text in documents.items():
        (folder / name).write_text(text)
    return folder
