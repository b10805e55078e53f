"""What a migration took over, and what it could not take over."""

from dataclasses import dataclass

NOTHING = "nothing"
"""What to do about something that is not needed any more."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place of the old project."""

    path: str
    """The file, relative to the old project."""

    line: int
    """Counted from 1. 0 if the whole file is meant."""

    what: str
    """What is there, or where it is now."""

    do: str = ""
    """What to do about it. Empty if it was taken over."""

    @property
    def needs_something(self) -> bool:
        """Whether somebody has to look at it."""
        return bool(self.do) and self.do != NOTHING

    @property
    def place(self) -> str:
        """The file and the line, as editors and compilers write them."""
        return f"{self.path}:{self.line}" if self.line else self.path
