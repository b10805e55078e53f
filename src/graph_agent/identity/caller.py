"""The caller of a run. A separate module, because the service knows the caller before LangGraph is imported."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, as verified by the service. It holds no credentials, so it may be logged and traced."""

    user: str
    """The stable id of the person or service."""

    email: str | None = None
    """The e-mail address, if the platform provides it."""
