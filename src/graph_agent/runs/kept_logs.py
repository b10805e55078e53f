"""The logs of runs that have ended, in memory: their streams can be read again for a while."""

import asyncio
import time
from dataclasses import dataclass

from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.runs.event_log import EventLog
from graph_agent.runs.request import RunRequest

MOST_LOGS = 1000
"""The most logs that are kept."""

MOST_BYTES = 64 * 1024 * 1024
"""The most memory of all kept logs. The oldest ones are forgotten first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLog:
    """The log of one run that has ended."""

    owner: Owner
    conversation: str | None
    log: EventLog
    until: float
    """In terms of `time.monotonic()`."""

    size: int


class KeptLogs:
    """The logs of one process, the oldest first. All of it belongs to one event loop."""

    def __init__(self, *, seconds: float, most: int = MOST_LOGS, most_bytes: int = MOST_BYTES) -> None:
        """Each log is kept for so many seconds, as long as there are at most `most`, which need `most_bytes` at most.

        A log that alone is larger than `most_bytes` is not kept.
        """
        self._seconds = seconds
        self._most = most
        self._most_bytes = most_bytes
        self._logs: dict[str, KeptLog] = {}
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def size(self) -> int:
        """The bytes of memory of all logs, about."""
        return self._bytes

    def keep(self, run_id: str, log: EventLog, request: RunRequest) -> None:
        """Keep the log of a run that has ended."""
        if self._seconds <= 0:
            return
        self._drop(run_id)
        kept = KeptLog(
            owner=Owner.of(request.owner),
            conversation=request.conversation,
            log=log,
            until=time.monotonic() + self._seconds,
            size=log.memory,
        )
        self._logs[run_id] = kept
        self._bytes += kept.size
        while len(self._logs) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._logs)))
        self._wait()

    def find(self, owner: Caller, run_id: str) -> EventLog | None:
        """The log of a run of this owner, or `None` if it is not kept."""
        kept = self._logs.get(run_id)
        # One answer for both: whether another owner has such a run must not be visible.
        return None if kept is None or kept.owner != Owner.of(owner) else kept.log

    def forget(self, owner: Owner, *, response: str | None = None, conversation: str | None = None) -> None:
        """Forget the log of one response, those of a conversation, or all logs of this owner."""
        for run_id, kept in list(self._logs.items()):
            if kept.owner == owner and (
                (response is None and conversation is None)
                or run_id == response
                or (conversation is not None and kept.conversation == conversation)
            ):
                self._drop(run_id)

    def clear(self) -> None:
        """Forget every log."""
        self._logs.clear()
        self._bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self, run_id: str) -> None:
        if (kept := self._logs.pop(run_id, None)) is not None:
            self._bytes -= kept.size

    def _wait(self) -> None:
        if self._logs and self._timer is None:
            oldest = next(iter(self._logs.values()))
            seconds = max(oldest.until - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._timer, now = None, time.monotonic()
        # They all live for the same time, so they are in the order of their ends.
        while self._logs and next(iter(self._logs.values())).until <= now:
            self._drop(next(iter(self._logs)))
        self._wait()
