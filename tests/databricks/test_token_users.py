"""A request on Databricks Apps that carries only a user's token, as the second hop of the stock chat page does."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.databricks.service import forwarded, service_here
from tests.databricks.test_user_tokens import jwt
from tests.standin.server import StandIn

from graph_agent.app_context import AppContext
from graph_agent.databricks.token_users import MOST_KNOWN, OPAQUE_SECONDS, TokenUsers
from graph_agent.errors import Unauthenticated, WorkspaceUnavailable
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken
from graph_agent.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

ME = "/api/2.0/preview/scim/v2/Me"


@pytest.fixture
def on_apps(monkeypatch: pytest.MonkeyPatch, standing: StandIn) -> StandIn:
    monkeypatch.setenv("DATABRICKS_APP_NAME", "agent")
    return standing


def only_token(user: str) -> dict[str, str]:
    return {"x-forwarded-access-token": f"user-{user}"}


async def test_the_workspace_says_whose_token_it_is_once_for_each_token(on_apps: StandIn) -> None:
    users = ["user01", "user02", "user03"]
    async with service_here() as client:
        made = await asyncio.gather(
            *(client.post("/v1/conversations", json={"title": user}, headers=only_token(user)) for user in users * 5)
        )
        assert [answer.status_code for answer in made] == [200] * 15
        for user in users:
            listed = (await client.get("/v1/conversations", headers=only_token(user))).json()["data"]
            assert [one["title"] for one in listed] == [user] * 5
    asked = Counter(call.token for call in on_apps.calls(ME))
    assert asked == {on_apps.user(user): 1 for user in users}


async def test_the_body_cannot_say_whose_request_it_is(on_apps: StandIn) -> None:
    async with service_here() as client:
        ann = await client.post("/v1/conversations", json={}, headers=only_token("user01"))
        one = f"/v1/conversations/{ann.json()['id']}"
        for more in ({"user_id": "user01"}, {"context": {"user_id": "user01"}}):
            answer = await client.post(one, json={"title": "Mine", **more}, headers=only_token("user02"))
            assert answer.status_code == 400
            answer = await client.post(one, json={"title": "Mine"}, headers=only_token("user02") | {"x-user": "user01"})
            assert answer.status_code == 404
        assert (await client.get(one, headers=only_token("user02"))).status_code == 404
        assert (await client.get(one, headers=only_token("user01"))).json()["title"] is None


async def test_the_same_person_through_the_proxy_and_through_a_chat_page_has_the_same_conversations(
    on_apps: StandIn,
) -> None:
    async with service_here() as client:
        token = UserToken(on_apps.user("user01"))
        person = await TokenUsers(AppContext(Settings())).user_of(token)
        headers = forwarded("user01") | {"x-forwarded-user": f"{person.user}@7001"}
        made = await client.post("/v1/conversations", json={}, headers=headers)
        one = f"/v1/conversations/{made.json()['id']}"
        assert (await client.get(one, headers=only_token("user01"))).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-forwarded-access-token": ""},
        {"x-forwarded-access-token": "nobody"},
        {"x-forwarded-access-token": jwt(expires_in=-1)},
        {"x-forwarded-email": "ann@example.com"},
        {"x-front-user": "ann"},
    ],
)
async def test_a_request_without_a_token_that_the_workspace_knows_is_nobodys(
    on_apps: StandIn, headers: dict[str, str]
) -> None:
    async with service_here() as client:
        for answer in (
            await client.post("/v1/conversations", json={}, headers=headers),
            await client.post("/invocations", json={"input": "Hi"}, headers=headers),
            await client.get("/responses/resp_1", headers=headers),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


async def test_outside_apps_a_forwarded_token_says_nothing(standing: StandIn) -> None:
    async with service_here() as client:
        made = await client.post("/v1/conversations", json={}, headers=only_token("user01"))
        assert (await client.get(f"/v1/conversations/{made.json()['id']}")).status_code == 200
    assert standing.calls(ME) == []


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_user_is_remembered_as_long_as_the_token_lives(on_apps: StandIn) -> None:
    clock = Clock()
    users = TokenUsers(AppContext(Settings()), clock=clock)
    token = UserToken(on_apps.user("user01"))
    first = await users.user_of(token)
    assert (first.email, first.kind) == (None, "apps")
    clock.now += OPAQUE_SECONDS - 1
    assert await users.user_of(token) is first
    assert len(on_apps.calls(ME)) == 1
    clock.now += 2
    assert await users.user_of(token) == first
    assert len(on_apps.calls(ME)) == 2


async def test_only_so_many_users_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    users, asked = TokenUsers(AppContext(Settings())), []

    async def ask(token: UserToken) -> Caller:
        asked.append(token.value)
        return Caller(token.value, kind="apps")

    monkeypatch.setattr(users, "_ask", ask)
    for number in range(MOST_KNOWN + 1):
        await users.user_of(UserToken(str(number)))
    await users.user_of(UserToken(str(MOST_KNOWN)))
    assert len(asked) == MOST_KNOWN + 1
    await users.user_of(UserToken("0"))
    assert len(asked) == MOST_KNOWN + 2


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"{}", Unauthenticated),
        (403, b"{}", Unauthenticated),
        (404, b"{}", WorkspaceUnavailable),
        (200, b"{}", WorkspaceUnavailable),
        (200, b"[]", WorkspaceUnavailable),
        (200, b'{"id": 7}', WorkspaceUnavailable),
    ],
)
async def test_an_answer_that_names_no_user_is_an_error_and_is_not_remembered(
    on_apps: StandIn, status: int, body: bytes, error: Any
) -> None:
    users, token = TokenUsers(AppContext(Settings())), UserToken(on_apps.user("user01"))
    on_apps.reply("/scim/", body, status=status)
    with pytest.raises(error):
        await users.user_of(token)
    on_apps.clear_faults()
    assert (await users.user_of(token)).kind == "apps"
