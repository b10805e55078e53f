"""What `graph-agent doctor` finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is fine, what was seen, and how to fix it."""

    ok: bool
    what: str
    fix: str = ""
