"""One result of `graph-agent doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it passed, what was found, and how to fix it."""

    ok: bool
    what: str
    fix: str = ""
