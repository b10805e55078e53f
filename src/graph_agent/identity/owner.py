"""The owner of stored responses, conversations and memories. Every lookup takes one first."""

import re
from dataclasses import dataclass
from typing import Self

from graph_agent.identity.caller import Caller

OF_WORKSPACE = re.compile(r"([0-9]{1,32})@[0-9]{1,32}")
"""How the proxy of Databricks Apps writes a user: the user's id and the workspace's. The workspace itself says only the
id, and both mean the same person."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The verified person or service to whom stored data belongs."""

    key: str
    """Identifies the owner in the store. It never comes from a request's body."""

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """The owner of what this caller stores."""
        user = caller.user
        if caller.kind == "apps" and (match := OF_WORKSPACE.fullmatch(user)):
            user = match[1]
        # The kind is first and has no colon, so that no id of one kind can look like another kind.
        return cls(f"{caller.kind}:{user}")

    def at(self, connection: str) -> "Owner":
        """The owner of what only one connection of this owner remembers."""
        return Owner(f"{self.key}#{connection}")
