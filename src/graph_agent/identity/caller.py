"""The caller of a run. A separate module, because the service knows the caller before LangGraph is imported."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["local", "front_end", "apps"]
"""Who vouches for a caller: the settings of this service, a front end that has the service's bearer token, or the proxy
or the workspace of Databricks Apps."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, as verified by the service. It holds no credentials, so it may be logged and traced."""

    user: str
    """The stable id of the person or service."""

    email: str | None = None
    """The e-mail address, if the platform provides it."""

    kind: Kind = "local"
    """Who says so. Callers of different kinds are different, even with the same id."""
