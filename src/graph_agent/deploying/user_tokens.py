"""Checks that an app that acts for its users gets their tokens, with the scopes that it needs."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from graph_agent.databricks.user_scopes import SCOPES, lacking_scopes
from graph_agent.deploying.bundle import FILE, Bundle
from graph_agent.errors import DeployRefused

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App

AUTHORIZATION = "GRAPH_AGENT_AUTHORIZATION"


def check_user_tokens(bundle: Bundle, environment: Mapping[str, str], app: "App | None") -> Iterator[str]:
    """Compare what the app's environment needs with what the platform would forward. Yields warnings for the log.

    Raises:
        DeployRefused: the app acts for its users, but would get no token, or a token without any scope.
    """
    acting = environment.get(AUTHORIZATION, "app")
    # A deployment does not change the fields that the bundle does not mention.
    current = app.as_dict() if app is not None else {}
    scopes = bundle.declared.get("user_api_scopes", current.get("user_api_scopes")) or ()
    forwards = bundle.declared.get("forward_user_access_token", current.get("forward_user_access_token"))
    if acting != "app" and not scopes:
        raise DeployRefused(
            f"{AUTHORIZATION} is {acting}, but the app has no user_api_scopes, so it would not get users' tokens;"
            f" add them to {FILE}: {' and '.join(SCOPES)} for a model and an index"
        )
    if scopes and forwards is False:
        raise DeployRefused(
            f"the app {bundle.app} has user_api_scopes, but its users' tokens are not forwarded"
            " (forward_user_access_token is false): ask a workspace admin to turn on user authorization for apps, or"
            f" remove user_api_scopes from {FILE} and leave {AUTHORIZATION} at app"
        )
    if acting != "app":
        for scope in lacking_scopes(scopes):
            yield f"warning: user_api_scopes lack {scope}; calls that need it will fail for users"
    elif bundle.declared.get("user_api_scopes"):
        yield f"warning: {FILE} has user_api_scopes, but they have no effect while {AUTHORIZATION} is app; remove them"
