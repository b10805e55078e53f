"""What llama.cpp's slots hold of earlier prompts, which slot a prompt gets, and how much of it is read at a time."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Tokens = list[int]

LOST = 0.25
"""What it costs to overwrite a token of a slot, in tokens to read: that many of them are asked for again."""

SMALLEST, LARGEST = 16, 256
"""Tokens of a prompt that are read at a time. Larger pieces were not read faster."""

STEP = 16
"""Pieces have a multiple of so many tokens, because llama.cpp multiplies by blocks."""

PIECE_SECONDS = 0.6
"""How long one piece may take, so that a reader who leaves is noticed within a second."""

FIRST = 32
"""Tokens of the first piece, before anything is measured."""


def shared(one: Tokens, other: Tokens) -> int:
    """Number of tokens with which both begin."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    return next(at for at, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


@dataclass(slots=True)
class Slot:
    """A place of llama.cpp for one prompt and its answer."""

    id: int
    tokens: Tokens = field(default_factory=list)
    """What it holds."""

    last_used: int = 0
    taken: bool = False


class PromptSlots:
    """The slots of one llama.cpp. There are more than are used at a time, so that several prompts stay in memory."""

    def __init__(self, *, slots: int, at_once: int) -> None:
        self._slots = [Slot(number) for number in range(slots)]
        self._turns = asyncio.Semaphore(at_once)
        self._uses = 0
        self.active = 0
        """How many slots are in use."""

    @asynccontextmanager
    async def slot_for(self, prompt: Tokens, *, kept: int = 0) -> AsyncGenerator[Slot, None]:
        """The slot where a prompt costs least. Waits in line while as many as allowed are in use.

        `kept` is how many tokens of the prompt's beginning are kept outside the slots and need not be read.
        """
        async with self._turns:
            free = [slot for slot in self._slots if not slot.taken]
            slot = min(free, key=lambda one: (_cost(one.tokens, prompt, kept), one.last_used))
            self._uses += 1
            slot.taken, slot.last_used = True, self._uses
            self.active += 1
            try:
                yield slot
            finally:
                slot.taken = False
                self.active -= 1


def _cost(held: Tokens, prompt: Tokens, kept: int) -> float:
    same = shared(held, prompt)
    return len(prompt) - max(same, kept) + LOST * (len(held) - same)


class ReadingPace:
    """How many tokens to read at a time, by the speed of the last pieces."""

    def __init__(self) -> None:
        self._speed: float | None = None

    def tokens(self, readers: int) -> int:
        """Tokens of the next piece, if so many requests are read or answered at the same time."""
        if self._speed is None:
            return FIRST
        fits = int(self._speed * PIECE_SECONDS / max(1, readers)) // STEP * STEP
        return max(SMALLEST, min(LARGEST, fits))

    def add(self, tokens: int, seconds: float) -> None:
        """Note that so many tokens took so long. A piece too short to say anything about the speed is left out."""
        if tokens >= SMALLEST and seconds > 0:
            speed = tokens / seconds
            # A machine that became slow counts at once, and one that became fast after some pieces.
            self._speed = min(speed, (speed + (self._speed or speed)) / 2)
