"""Why an exchange with an MCP server gave no answer, as an exception and as a JSON-RPC error."""

import json
from typing import Any, Literal

Reason = Literal[
    "refused", "forgotten", "unreachable", "slow", "cut", "foreign", "garbled", "large", "credentials", "version"
]

FAILED = -32050
"""The JSON-RPC error code of failures found on this side, from the range reserved for implementations."""


class ExchangeFailed(Exception):
    """An exchange ended without an answer, for `reason`."""

    def __init__(self, reason: Reason, *, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.status = status
        self.wait = wait
        """Seconds the server asks clients to wait, where that is too long to wait here."""

    def answer(self, request_id: Any) -> bytes:
        """The failure as the JSON-RPC error answer to that request."""
        error = {"code": FAILED, "message": self.reason, "data": {"status": self.status, "wait": self.wait}}
        return json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode()
