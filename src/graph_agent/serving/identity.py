"""Who is calling."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import Headers

from graph_agent.caller import Caller
from graph_agent.errors import Unauthenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Decides the caller from a request's headers, never from its body.

    The Apps proxy sets the forwarded headers from a token it has checked. Anywhere else a caller could write them
    too, so they are believed only on Apps, where the platform sets `DATABRICKS_APP_NAME`.
    """

    behind_apps_proxy: bool
    local_user: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, local_user: str) -> "Identity":
        """On Databricks Apps if the platform says so."""
        return cls(behind_apps_proxy=bool(environ.get("DATABRICKS_APP_NAME")), local_user=local_user)

    def caller(self, headers: Headers) -> Caller:
        """Who is calling.

        Raises:
            Unauthenticated: on Apps, but the request did not come through the proxy.
        """
        if not self.behind_apps_proxy:
            return Caller(self.local_user)
        user = headers.get("x-forwarded-user")
        if not user:
            raise Unauthenticated("no X-Forwarded-User header: call the app through its Databricks Apps address")
        return Caller(user, headers.get("x-forwarded-email"))
