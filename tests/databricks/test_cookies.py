"""Clients that all users share carry no cookie of one user in the request of another."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.databricks.conftest import USERS
from tests.standin.server import INDEX, stand_in

from graph_agent import chat_model, get_user_workspace_client
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.identity.user_token import UserToken, with_user_token

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

ME = "/api/2.0/preview/scim/v2/Me"
CHAT = "/serving-endpoints/chat/completions"
QUERY = f"/api/2.0/vector-search/indexes/{INDEX}/query"
SAID = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
PAGE = {"manifest": {"column_count": 0, "columns": []}, "result": {"row_count": 0, "data_array": []}}


def route(path: str, answer: dict[str, Any], method: str) -> Route:
    async def answered(request: Request) -> Response:
        who = request.headers["authorization"][-6:]
        return JSONResponse(answer, headers={"set-cookie": f"session={who}; path=/"})

    return Route(path, answered, methods=[method])


async def test_no_cookie_set_for_one_user_is_sent_for_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    completion = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [SAID]}
    more = [
        route(ME, {"id": "1", "userName": "x"}, "GET"),
        route(CHAT, completion, "POST"),
        route(QUERY, PAGE, "GET"),
        route(QUERY, PAGE, "POST"),
    ]
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with stand_in(tmp_path / "workspace", users=USERS, more=more) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        model, documents = chat_model("databricks:local-model", streaming=False), DocumentSearch()
        for user in USERS[:2]:
            with with_user_token(UserToken(standing.user(user))):
                await asyncio.to_thread(get_user_workspace_client().current_user.me)
                await model.ainvoke("hello")
                await asyncio.to_thread(model.invoke, "hello")
                assert await documents.search("hello") == []
        for path, times in ((ME, 2), (CHAT, 4), (QUERY, 2)):
            assert [call.headers.get("cookie") for call in standing.calls(f"^{path}$")] == [None] * times
