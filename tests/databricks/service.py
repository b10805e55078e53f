"""Runs the service in the event loop of the test, so that a test can watch it, as on Databricks Apps."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from graph_agent.serving.app import create_app
from graph_agent.serving.workers import listening_socket
from graph_agent.settings import Settings

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@asynccontextmanager
async def service_here(environ: Mapping[str, str] | None = None, **overrides: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run the service, load its graphs, and yield a client.

    Settings and platform come from `environ`, or else from the environment of the process.
    """
    settings = Settings.from_environment(environ, **{"config": GRAPHS, "tracing": "off", "store": "memory"} | overrides)
    listener = listening_socket("127.0.0.1", 0)
    app = create_app(settings, environ=environ)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    headers = {} if settings.bearer_token is None else {"authorization": f"Bearer {settings.bearer_token}"}
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            (await client.get("/agent/info", headers=headers)).raise_for_status()
            yield client
    finally:
        server.should_exit = True
        await running
        listener.close()


def forwarded(user: str) -> dict[str, str]:
    """Return the headers that the proxy of Apps sets for a user if user authorization is on."""
    return {
        "x-forwarded-user": user,
        "x-forwarded-email": f"{user}@example.com",
        "x-forwarded-access-token": f"user-{user}",
    }


def text_of(answer: httpx.Response) -> str:
    """Return the text of a complete response."""
    output = answer.json()["output"]
    return " ".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])
