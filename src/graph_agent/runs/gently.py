"""Work on the items of a request, on the event loop if it is small, and in a thread otherwise."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from graph_agent.protocol.json_decoding import no_pulse
from graph_agent.threads import run_giving_way

if TYPE_CHECKING:
    from graph_agent.protocol.json_decoding import Pulse

T = TypeVar("T")

MOST_HERE = 4096
"""The most characters of items that are read on the event loop."""

PER_VALUE = 16
"""What a value costs besides its characters, in characters."""


async def run_gently(work: "Callable[[Pulse], T]", items: Sequence[Any]) -> T:
    """Run `work`, which takes time linear in the size of `items`, so that it does not hold up other requests."""
    if is_small(items):
        return work(no_pulse)
    return await run_giving_way(lambda *, pulse: work(pulse))


def is_small(value: Any) -> bool:
    """Whether a JSON value is small enough to be read on the event loop. It looks no further than that."""
    left, values = MOST_HERE, [value]
    while values and left > 0:
        one = values.pop()
        left -= PER_VALUE
        if isinstance(one, str):
            left -= len(one)
        elif isinstance(one, dict):
            left -= PER_VALUE * len(one)
            values += one.values() if left > 0 else ()
        elif isinstance(one, list | tuple):
            left -= PER_VALUE * len(one)
            values += one if left > 0 else ()
    return left > 0
