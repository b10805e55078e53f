"""The output list of one response: assigns indexes to items that open, and keeps the closed ones."""

from collections.abc import Mapping
from typing import Any

from graph_agent.protocol import item_events
from graph_agent.protocol.events import Event, Item, Phase


class OutputItems:
    """Items by index. A sent item does not change, except that a message may get its phase later."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._taken = 0

    def restore(self, items: Mapping[int, Item], taken: int) -> None:
        """Restore the valid items of an earlier attempt, by index, and the number of indexes that it used."""
        # Indexes of discarded items are not used again: clients keep items by index.
        self._items.update(items)
        self._taken = taken

    @property
    def items(self) -> list[Item]:
        """Every item closed so far, in the order opened."""
        return [self._items[index] for index in sorted(self._items)]

    @property
    def taken(self) -> int:
        """How many indexes are taken, which is the next one."""
        return self._taken

    def open(self) -> int:
        """The index of an item that opens."""
        self._taken += 1
        return self._taken - 1

    def close(self, index: int, item: Item) -> Event:
        """`response.output_item.done`."""
        self._items[index] = item
        return item_events.item_done(index, item)

    def settle(self, index: int, phase: Phase) -> None:
        """Set the phase of a closed message, once that is known, unless it has one."""
        item = self._items[index]
        if "phase" not in item:
            self._items[index] = {**item, "phase": phase}

    def drop(self, index: int) -> None:
        """Leave a closed item out of the response. Only for a plain reply, of which nothing was sent yet."""
        self._items.pop(index, None)

    def texts(self) -> list[str]:
        """The texts of closed messages that are not commentary."""
        return [text_of_item(item) for item in self.items if item["type"] == "message" and _is_answer(item)]


def text_of_item(item: Item) -> str:
    """The text of a message item, refusals included."""
    return "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])


def _is_answer(item: dict[str, Any]) -> bool:
    return item.get("phase") != "commentary"
