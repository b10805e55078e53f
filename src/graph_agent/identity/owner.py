"""The owner of stored responses, conversations and memories. Every lookup takes one first."""

from dataclasses import dataclass
from typing import Self

from graph_agent.identity.caller import Caller


@dataclass(frozen=True, slots=True)
class Owner:
    """The verified person or service to whom stored data belongs."""

    key: str
    """Identifies the owner in the store. It never comes from a request's body."""

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """The owner of what this caller stores."""
        return cls(caller.user)
