"""What a store keeps of a memory, and how memories are searched.

A memory is a JSON object with a key, in a namespace of its owner. What a graph saves by the tools of `memory_tools` is
`{"text": …}` in the namespace `MEMORIES`. A graph may keep other objects in namespaces of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MEMORIES = ("memories",)
"""The namespace of the tools."""

TEXT = "text"
"""The field with the text of a memory."""

Namespace = tuple[str, ...]
Place = tuple[Namespace, str]
"""A namespace, and a key in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One memory of an owner."""

    id: str
    """Issued by the store. No other owner can use it."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any]
    response: str | None
    """The id of the response whose run saved it."""

    created_at: float
    updated_at: float
    score: float | None = None
    """How well it fits a query. The higher, the better."""

    @property
    def text(self) -> str | None:
        """Its text, or `None` if it has another form."""
        text = self.value.get(TEXT)
        return text if isinstance(text, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryChange:
    """A memory that is saved, replaced or deleted."""

    place: Place
    value: Mapping[str, Any] | None
    """`None` deletes it."""

    searched: str | None = None
    """The text by which a query finds it. `None`: no query does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySearch:
    """Which memories are sought. Without a query, the ones that were changed last come first."""

    prefix: Namespace = ()
    query: str | None = None
    accepts: Callable[[Mapping[str, Any]], bool] | None = None
    """Whether a value is one of those that are sought."""

    limit: int = 10
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """How much of an owner was deleted."""

    responses: int
    conversations: int
    checkpoints: int
    memories: int
