"""The output list of one response: an index for whatever opens, the item once it is closed."""

from collections.abc import Mapping
from typing import Any

from graph_agent.protocol import item_events
from graph_agent.protocol.events import Event, Item, Phase


class Output:
    """Items by index. What was sent stays as it was sent; only the phase of a message may still be settled."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._taken = 0

    def restore(self, items: Mapping[int, Item], taken: int) -> None:
        """The items that stand of an earlier attempt, by index, and how many indexes it used."""
        self._items.update(items)
        self._taken = taken

    @property
    def items(self) -> list[Item]:
        """Every item closed so far, in the order opened."""
        return [self._items[index] for index in sorted(self._items)]

    def open(self) -> int:
        """The index of an item that opens."""
        self._taken += 1
        return self._taken - 1

    def close(self, index: int, item: Item) -> Event:
        """`response.output_item.done`."""
        self._items[index] = item
        return item_events.item_done(index, item)

    def settle(self, index: int, phase: Phase) -> None:
        """Say what a closed message was, once that is known; one that said so itself keeps what it said."""
        item = self._items[index]
        if "phase" not in item:
            self._items[index] = {**item, "phase": phase}

    def drop(self, index: int) -> None:
        """Leave a closed item out of the response: for a reply of which nothing was sent yet."""
        self._items.pop(index, None)

    def texts(self) -> list[str]:
        """What the closed messages say, commentary left out."""
        return [text_of_item(item) for item in self.items if item["type"] == "message" and _is_answer(item)]


def text_of_item(item: Item) -> str:
    """What a message item says: its text, and what it declines."""
    return "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])


def _is_answer(item: dict[str, Any]) -> bool:
    return item.get("phase") != "commentary"
