"""Pieces of an answer's body that are written at once, past the tasks between an app and its connection."""

import weakref
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    # An app is also served by the servers of hosts.
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

CHUNKS = "graph_agent.chunks"
"""The extension in the scope of a request that has its `Chunks`."""


def without_chunks(scope: Scope) -> Scope:
    """The scope for an app whose bodies are changed on their way. All that it writes goes through `send`."""
    extensions = scope.get("extensions") or {}
    return {**scope, "extensions": {name: one for name, one in extensions.items() if name != CHUNKS}}


class Chunks:
    """Writes pieces of the body of one answer over HTTP/1.1, in the call that has them.

    To pass a piece on from function to function, and to wake the task that does it, takes as long as to write it to the
    socket.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: "RequestResponseCycle") -> None:
        # Its scope has this: without a collector, neither would be freed.
        self._cycle = weakref.ref(cycle)

    def write(self, body: bytes) -> bool:
        """Write a piece of a body whose length was not declared. Returns false if it cannot be written now: the app
        then sends it as usual, and waits."""
        cycle = self._cycle()
        if (
            not body
            or cycle is None
            or cycle.flow.write_paused
            or cycle.disconnected
            or not cycle.response_started
            or cycle.response_complete
        ):
            return False
        # As h11 writes it. Its state stays as it is while a body goes on.
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True
