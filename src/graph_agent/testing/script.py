"""Scripts for models: replies that are made of pieces."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graph_agent.testing.errors import BadScript, ScriptExhausted

MOST_SHOWN = 200
"""Most characters of a message that an error quotes."""

POLL_SECONDS = 0.005
"""How often `Wait` checks a `threading.Event` from an event loop."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call.

    `args` is a mapping, a JSON text that may be invalid on purpose, or a sequence of texts that are streamed as one
    chunk each. Without an `id`, the calls of a conversation are named `call_1`, `call_2` and so on.
    """

    name: str
    args: Mapping[str, Any] | str | Sequence[str] = field(default_factory=dict)
    id: str | None = None

    @property
    def chunks(self) -> list[str]:
        """The arguments as JSON text, one text for each streamed chunk."""
        if isinstance(self.args, str):
            return [self.args]
        return [json.dumps(self.args)] if isinstance(self.args, Mapping) else list(self.args) or [""]


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A chunk of reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Blocks:
    """A chunk whose content is a list of blocks, as some providers send it.

    Each block is a mapping: `Blocks({"type": "text", "text": "Hi"})`.
    """

    blocks: tuple[Mapping[str, Any], ...]

    def __init__(self, *blocks: Mapping[str, Any]) -> None:
        # The usual way to set a field of a frozen dataclass.
        object.__setattr__(self, "blocks", blocks)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the endpoint reports. `input` includes the `cached` tokens, and `output` the `reasoning` tokens."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The finish reason that the endpoint reports: `Finish("length")`, or the fields of another provider by name."""

    metadata: Mapping[str, Any]

    def __init__(self, finish_reason: str | None = None, **metadata: Any) -> None:
        given = {} if finish_reason is None else {"finish_reason": finish_reason}
        object.__setattr__(self, "metadata", given | metadata)


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause until an event is set: an `asyncio.Event` of the model's event loop, or a `threading.Event`.

    Without an event the pause lasts until the call is cancelled. `reached` is set when the pause starts, so that a test
    can wait for the model instead of sleeping.
    """

    until: Any = None
    reached: Any = None

    async def over(self) -> None:
        """Wait in an event loop."""
        self._begin()
        if self.until is None:
            await asyncio.Event().wait()
        elif asyncio.iscoroutinefunction(self.until.wait):
            await self.until.wait()
        else:
            # Polled, because a thread that waits for the event could not be cancelled together with the call.
            while not self.until.is_set():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)

    def over_in_thread(self) -> None:
        """Wait in the calling thread.

        Raises:
            BadScript: a thread cannot wait for this event.
        """
        self._begin()
        if self.until is None or asyncio.iscoroutinefunction(self.until.wait):
            raise BadScript("a synchronous call can only wait for a `threading.Event`: pass one to `Wait`")
        self.until.wait()

    def _begin(self) -> None:
        if self.reached is not None:
            self.reached.set()


class Script:
    """Replies in order, one for each call of the model.

    With `each_turn` the script restarts with each user message, and its last reply is repeated. The next reply then
    depends only on the conversation, so many conversations can use the model at the same time. A function in place of a
    reply computes the reply from the request. A script of one function calls it for every reply.
    """

    def __init__(self, replies: Sequence[Any], *, each_turn: bool = False) -> None:
        if not replies:
            raise BadScript("a script needs at least one reply, such as \"Hello.\" or Call('search')")
        self._replies = list(replies)
        self._each_turn = each_turn or (len(replies) == 1 and _is_function(replies[0]))
        self._calls = 0

    def reply(self, request: Any, *, said: int, describe: Callable[[], str]) -> list[Any]:
        """Return the pieces of the next reply.

        `said` is the number of replies since the last user message. `describe` describes the request for an error.

        Raises:
            ScriptExhausted: there is no reply left.
        """
        place = min(said, len(self._replies) - 1) if self._each_turn else self._calls
        self._calls += 1
        if place >= len(self._replies):
            raise ScriptExhausted(
                f"the script has {_count(len(self._replies), 'reply', 'replies')}, and the model was called "
                f"{_count(self._calls, 'time', 'times')}; the last call asked: {describe()}. Add a reply, or pass "
                "`each_turn=True` to restart the script with each user message"
            )
        reply = self._replies[place]
        return _pieces(reply(request) if _is_function(reply) else reply)


def shown(text: str) -> str:
    """Return a text as errors quote it."""
    return repr(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…")


def _pieces(reply: Any) -> list[Any]:
    return list(reply) if isinstance(reply, list | tuple) else [reply]


def _is_function(reply: Any) -> bool:
    # Exception classes are callable too, but they are pieces that are raised.
    return callable(reply) and not isinstance(reply, type)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
