"""Who is calling: from the proxy's headers on Databricks Apps, an explicit local name elsewhere, never from a body."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.datastructures import Headers

from graph_agent.errors import BadSetting, Unauthenticated
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.serving.app import create_app
from graph_agent.serving.identity import Identity
from graph_agent.settings import Settings

pytestmark = pytest.mark.anyio

FORWARDED = {"x-forwarded-user": "ann", "x-forwarded-email": "ann@example.com"}


async def test_on_apps_the_proxy_says_who() -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    assert await identity.caller(Headers(FORWARDED)) == Caller("ann", "ann@example.com", "apps")


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-email": "ann@example.com"}, {"x-forwarded-user": ""}])
async def test_on_apps_a_request_around_the_proxy_is_nobodys(headers: dict[str, str]) -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    with pytest.raises(Unauthenticated):
        await identity.caller(Headers(headers))


async def test_elsewhere_forwarded_headers_prove_nothing() -> None:
    identity = Identity.from_environment({}, local_user="local")
    assert await identity.caller(Headers(FORWARDED)) == Caller("local")


TWICE = [
    [("x-forwarded-user", "ann"), ("x-forwarded-user", "bob")],
    [("X-Forwarded-User", "ann"), ("x-forwarded-user", "")],
    [("x-forwarded-user", "ann"), ("x-forwarded-user", "ann"), ("x-forwarded-user", "Ann")],
    [("x-forwarded-user", "ann"), ("x-forwarded-email", "ann@x"), ("x-forwarded-email", "bob@x")],
]


@pytest.mark.parametrize("lines", TWICE)
async def test_a_request_that_names_two_callers_is_nobodys(lines: list[tuple[str, str]]) -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    with pytest.raises(Unauthenticated, match="two X-Forwarded-"):
        await identity.caller(Headers(raw=encoded(lines)))


async def test_a_request_that_names_its_caller_twice_is_theirs() -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    assert await identity.caller(Headers(raw=encoded([("x-forwarded-user", "ann")] * 2))) == Caller("ann", None, "apps")


@pytest.mark.parametrize("authorization", ["user", "user-required"])
def test_a_request_with_two_tokens_acts_for_nobody(authorization: Any) -> None:
    identity = Identity.from_environment(
        {"DATABRICKS_APP_NAME": "app"}, local_user="local", authorization=authorization
    )
    with pytest.raises(Unauthenticated, match="two X-Forwarded-Access-Token headers"):
        identity.token(Headers(raw=encoded([("x-forwarded-access-token", "one"), ("x-forwarded-access-token", "two")])))


def test_owners_of_different_kinds_are_different() -> None:
    kinds: list[Any] = ["local", "front_end", "apps"]
    names = ["ann", "local:ann", "apps:ann", "front_end:ann", "7", "7@1"]
    owners = {Owner.of(Caller(name, kind=kind)) for kind in kinds for name in names}
    # On Apps, 7 and 7@1 are the same person.
    assert len(owners) == len(kinds) * len(names) - 1


def test_the_proxy_and_the_workspace_of_apps_name_the_same_owner() -> None:
    assert Owner.of(Caller("71@9", "ann@example.com", "apps")) == Owner.of(Caller("71", kind="apps"))
    assert Owner.of(Caller("ann@9", kind="apps")) != Owner.of(Caller("ann", kind="apps"))


# -- a front end that names its user ----------------------------------------------------------------------------

TOKEN = {"authorization": "Bearer open sesame"}


async def test_a_front_end_names_its_user_and_each_has_conversations_of_their_own(serve: Callable[..., Any]) -> None:
    with serve(bearer_token="open sesame", user_header="X-Front-User") as service:
        async with service.client(headers=TOKEN) as client:
            ann, bob = {"x-front-user": "ann"}, {"x-front-user": "bob"}
            made = (await client.post("/v1/conversations", json={}, headers=ann)).json()["id"]
            assert (await client.get(f"/v1/conversations/{made}", headers=ann)).status_code == 200
            assert (await client.get(f"/v1/conversations/{made}", headers=bob)).status_code == 404
            assert (await client.get("/v1/conversations", headers=bob)).json()["data"] == []


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [("x-front-user", "")],
        [("x-front-user", "ann"), ("x-front-user", "bob")],
        [("x-front-user", "a" * 257)],
        [("x-front-user", "ann\x80")],
        [("x-forwarded-user", "ann"), ("x-forwarded-access-token", "t")],
    ],
)
async def test_a_request_whose_front_end_names_no_one_user_is_nobodys(
    serve: Callable[..., Any], lines: list[tuple[str, str]]
) -> None:
    with serve(bearer_token="open sesame", user_header="X-Front-User") as service:
        async with service.client(headers=TOKEN) as client:
            headers = [(name.encode(), value.encode("latin-1")) for name, value in [*TOKEN.items(), *lines]]
            for method, address in [
                ("POST", "/v1/conversations"),
                ("POST", "/responses"),
                ("GET", "/responses/resp_1"),
            ]:
                answer = await client.request(method, address, json={"input": "Hi"}, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
            assert (await client.get("/health")).status_code == 200


def test_the_header_of_a_front_end_is_refused_without_the_token_of_the_service() -> None:
    with pytest.raises(BadSetting, match="requires GRAPH_AGENT_BEARER_TOKEN") as refused:
        Settings.from_environment({"GRAPH_AGENT_USER_HEADER": "X-Front-User"})
    assert refused.value.param == "GRAPH_AGENT_USER_HEADER"
    create_app(Settings(user_header="X-Front-User", bearer_token="t", tracing="off", store="memory"), environ={})


@pytest.mark.parametrize("name", ["Authorization", "cookie", "X Front", "x-front:", "ä", "-x", "Host"])
def test_a_header_that_cannot_name_a_user_is_refused(name: str) -> None:
    with pytest.raises(BadSetting, match="must be the name of a header"):
        Settings(user_header=name, bearer_token="t")


def encoded(lines: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in lines]
