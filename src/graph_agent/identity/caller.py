"""Who is calling; a module of its own, as the edge knows it before LangGraph is imported."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, as verified at the edge. Holds no credentials: it may be logged and traced."""

    user: str
    """Stable id of the person or service."""

    email: str | None = None
    """E-mail address, where the platform tells it."""
