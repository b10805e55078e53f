"""Who is calling: from the proxy's headers on Databricks Apps, an explicit local name elsewhere, never from a body."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from graph_agent.errors import Unauthenticated
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.serving.identity import Identity

FORWARDED = {"x-forwarded-user": "ann", "x-forwarded-email": "ann@example.com"}


def test_on_apps_the_proxy_says_who() -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    assert identity.caller(Headers(FORWARDED)) == Caller("ann", "ann@example.com", "apps")


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-email": "ann@example.com"}, {"x-forwarded-user": ""}])
def test_on_apps_a_request_around_the_proxy_is_nobodys(headers: dict[str, str]) -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    with pytest.raises(Unauthenticated):
        identity.caller(Headers(headers))


def test_elsewhere_forwarded_headers_prove_nothing() -> None:
    identity = Identity.from_environment({}, local_user="local")
    assert identity.caller(Headers(FORWARDED)) == Caller("local")


TWICE = [
    [("x-forwarded-user", "ann"), ("x-forwarded-user", "bob")],
    [("X-Forwarded-User", "ann"), ("x-forwarded-user", "")],
    [("x-forwarded-user", "ann"), ("x-forwarded-user", "ann"), ("x-forwarded-user", "Ann")],
    [("x-forwarded-user", "ann"), ("x-forwarded-email", "ann@x"), ("x-forwarded-email", "bob@x")],
]


@pytest.mark.parametrize("lines", TWICE)
def test_a_request_that_names_two_callers_is_nobodys(lines: list[tuple[str, str]]) -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    with pytest.raises(Unauthenticated, match="two X-Forwarded-"):
        identity.caller(Headers(raw=encoded(lines)))


def test_a_request_that_names_its_caller_twice_is_theirs() -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    assert identity.caller(Headers(raw=encoded([("x-forwarded-user", "ann")] * 2))) == Caller("ann", None, "apps")


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


def encoded(lines: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """As ASGI has them."""
    return [(name.lower().encode(), value.encode()) for name, value in lines]
