"""Whether the app gets its users' tokens, where it is to act for them, and what those tokens may do."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from graph_agent.databricks.user_scopes import SCOPES, lacking_scopes
from graph_agent.deploying.bundle import FILE, Bundle
from graph_agent.errors import DeployRefused

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App

AUTHORIZATION = "GRAPH_AGENT_AUTHORIZATION"


def check_user_tokens(bundle: Bundle, environment: Mapping[str, str], app: "App | None") -> Iterator[str]:
    """Compare what the app's environment asks for with what the platform would forward; warnings for the log.

    Raises:
        DeployRefused: the app is to act for its users, and would get no token, or none that may do anything.
    """
    acting = environment.get(AUTHORIZATION, "app")
    # What the bundle does not say stays as it is.
    stands = app.as_dict() if app is not None else {}
    scopes = bundle.declared.get("user_api_scopes", stands.get("user_api_scopes")) or ()
    forwards = bundle.declared.get("forward_user_access_token", stands.get("forward_user_access_token"))
    if acting != "app" and not scopes:
        raise DeployRefused(
            f"{AUTHORIZATION} is {acting}, but the app has no user_api_scopes, so it would get no user's token;"
            f" {FILE} needs them: {' and '.join(SCOPES)} for a model and an index"
        )
    if scopes and forwards is False:
        raise DeployRefused(
            f"the app {bundle.app} has user_api_scopes, but its users' tokens are not forwarded"
            " (forward_user_access_token is false): have a workspace admin switch user authorization for apps on, or"
            f" take user_api_scopes out of {FILE} and leave {AUTHORIZATION} at app"
        )
    if acting != "app":
        for scope in lacking_scopes(scopes):
            yield f"warning: user_api_scopes lack {scope}; what needs it will fail for users"
    elif bundle.declared.get("user_api_scopes"):
        yield f"warning: {FILE} has user_api_scopes, which nothing uses while {AUTHORIZATION} is app; take them out"
