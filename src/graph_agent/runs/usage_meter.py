"""Counts the tokens of the models of one run. A call that passes through several models is counted once."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from graph_agent.models.usage import CallTokens
from graph_agent.protocol.events import Usage


@dataclass(slots=True)
class CallUsage(CallTokens):
    """The tokens of one model call."""

    wrapped: bool = False
    """Whether the call of another model wraps it and reports its usage."""
    chunks: int = 0
    spoke: bool = False
    ended: bool = False
    within: list["CallUsage"] = field(default_factory=list)
    """The calls of the models that this one wraps."""

    @property
    def written(self) -> int:
        """The output tokens for the budget. Chunks are counted while the endpoint reports nothing."""
        return max(self.output_tokens, self.chunks)

    def total(self) -> CallTokens:
        """The tokens of this call and of the calls it wraps. A wrapper that repeats their usage is not counted."""
        own = CallTokens(self.input_tokens, self.output_tokens, self.cached_tokens, self.reasoning_tokens)
        if not self.ended:
            # The call was cut off, so a usage that the endpoint reports at the end never arrived.
            own.output_tokens = self.written
        if not self.within:
            return own
        # A wrapper that calls several models may report the usage of all of them, or of one. Anything else is the
        # usage of a call of its own.
        inner = [one.total() for one in self.within]
        below = _sum(inner)
        if not own or _figures(own) == _figures(below) or any(_figures(own) == _figures(one) for one in inner):
            return below
        return _sum([own, below])


class UsageMeter:
    """All model calls of a run."""

    def __init__(self) -> None:
        self._calls: dict[UUID, CallUsage] = {}
        self._outer: list[CallUsage] = []
        self.written = 0
        """The output tokens so far, without those of wrapped models."""
        self._before = CallTokens()

    def goes_on(self, before: Usage, *, written: int) -> None:
        """Count on from the tokens of an earlier attempt at the run. Call it before the first model call."""
        self._before = CallTokens(
            before.input_tokens, before.output_tokens, before.cached_tokens, before.reasoning_tokens
        )
        self.written = written

    def began(self, run_id: UUID, outer: UUID | None) -> None:
        """A model call begins. `outer` is the call of the model that wraps it."""
        wrapper = self._calls.get(outer) if outer is not None else None
        call = self._calls[run_id] = CallUsage(wrapped=wrapper is not None)
        (self._outer if wrapper is None else wrapper.within).append(call)

    def call(self, run_id: UUID) -> CallUsage | None:
        """The model call with that id."""
        return self._calls.get(run_id)

    def of(self, run_id: UUID) -> CallUsage:
        """The model call with that id, which has begun."""
        return self._calls[run_id]

    def is_silent(self, run_id: UUID) -> bool:
        """Whether the call is running and has no output yet."""
        call = self._calls.get(run_id)
        return call is not None and not call.ended and not call.spoke

    def heard(self, call: CallUsage, usage: Any, *, chunks: bool) -> None:
        """Count a chunk of the call's message, which has content if `chunks` says so."""
        # Takes the call and not its id: this runs for each token, and saves a lookup.
        call.spoke = True
        if not usage:
            # Nearly always. One more is written, unless the endpoint has reported more.
            call.chunks += chunks
            if chunks and call.chunks > call.output_tokens and not call.wrapped:
                self.written += 1
            return
        before = call.written
        call.chunks += chunks
        call.add(usage)
        if not call.wrapped:
            self.written += call.written - before

    def ended(self, call: CallUsage, usages: list[Any]) -> None:
        """The call has ended. `usages` are those of its whole messages; they count if no chunk had a usage."""
        before = call.written
        if not call:
            for usage in usages:
                call.add(usage)
        call.ended = True
        if not call.wrapped:
            self.written += call.written - before

    @property
    def usage(self) -> Usage:
        """The tokens so far."""
        # A copy of the list, because other threads append to it.
        total = _sum([self._before, *[call.total() for call in list(self._outer)]])
        return Usage(
            input_tokens=total.input_tokens,
            output_tokens=total.output_tokens,
            cached_tokens=total.cached_tokens,
            reasoning_tokens=total.reasoning_tokens,
        )


def _figures(tally: CallTokens) -> tuple[int, int]:
    return (tally.input_tokens, tally.output_tokens)


def _sum(tallies: list[CallTokens]) -> CallTokens:
    return CallTokens(
        sum(one.input_tokens for one in tallies),
        sum(one.output_tokens for one in tallies),
        sum(one.cached_tokens for one in tallies),
        sum(one.reasoning_tokens for one in tallies),
    )
