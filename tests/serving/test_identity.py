"""Who is calling: from the proxy's headers on Databricks Apps, an explicit local name elsewhere, never from a body."""

import pytest
from starlette.datastructures import Headers

from graph_agent.caller import Caller
from graph_agent.errors import Unauthenticated
from graph_agent.serving.identity import Identity

FORWARDED = {"x-forwarded-user": "ann", "x-forwarded-email": "ann@example.com"}


def test_on_apps_the_proxy_says_who() -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    assert identity.caller(Headers(FORWARDED)) == Caller("ann", "ann@example.com")


@pytest.mark.parametrize("headers", [{}, {"x-forwarded-email": "ann@example.com"}, {"x-forwarded-user": ""}])
def test_on_apps_a_request_around_the_proxy_is_nobodys(headers: dict[str, str]) -> None:
    identity = Identity.from_environment({"DATABRICKS_APP_NAME": "app"}, local_user="local")
    with pytest.raises(Unauthenticated):
        identity.caller(Headers(headers))


def test_elsewhere_forwarded_headers_prove_nothing() -> None:
    identity = Identity.from_environment({}, local_user="local")
    assert identity.caller(Headers(FORWARDED)) == Caller("local")
