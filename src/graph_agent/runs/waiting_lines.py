"""Requests that wait until their conversation is free, in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class WaitingLines:
    """One line for each conversation for which requests wait. All of them belong to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, list[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __contains__(self, conversation: Hashable) -> bool:
        return conversation in self._lines

    @asynccontextmanager
    async def place(self, conversation: Hashable) -> AsyncIterator[asyncio.Event]:
        """A place at the end of the line. The event is set once it is the first place."""
        place = asyncio.Event()
        line = self._lines.setdefault(conversation, [])
        line.append(place)
        line[0].set()
        try:
            yield place
        finally:
            line.remove(place)
            if line:
                line[0].set()
            else:
                del self._lines[conversation]
