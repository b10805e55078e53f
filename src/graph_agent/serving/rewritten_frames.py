"""Server-sent events of another protocol, made of the events of a run."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from graph_agent.protocol.json_encoding import encode
from graph_agent.runs.event_log import Entry
from graph_agent.serving.sse import KEEPALIVE


class RewrittenFrames:
    """Writes the events of one run as those that `rewrite` makes of them, a frame for each.

    `told` are the types of events that it is given. While nothing is written for `quiet_seconds`, a comment is.
    """

    def __init__(
        self,
        rewrite: Callable[[Iterator[Any]], Iterable[Mapping[str, Any]]],
        *,
        told: Collection[str],
        quiet_seconds: float,
    ) -> None:
        self._rewrite = rewrite
        self._told = told
        self._quiet_seconds = quiet_seconds
        self._wrote_at = time.monotonic()

    def __call__(self, batch: Sequence[Entry]) -> bytes:
        """The bytes to send for these events."""
        frames = self._rewrite(entry.event for entry in batch if entry.type in self._told)
        written = b"".join(b"data: %b\n\n" % encode(one) for one in frames)
        now = time.monotonic()
        if not written and now - self._wrote_at < self._quiet_seconds:
            return b""
        self._wrote_at = now
        # The run may be busy with what is not told, such as its own tools.
        return written or KEEPALIVE
