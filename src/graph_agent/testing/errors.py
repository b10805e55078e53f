"""What a test is told when its script or its request is wrong."""

import json
from typing import Any

from graph_agent.errors import RunError


class ScriptError(RunError):
    """The script of a test double is wrong. A run that meets it fails with this message, also on the wire."""

    code = "script_error"


class ScriptExhausted(ScriptError):
    """A model was called more often than its script has replies."""

    code = "script_exhausted"


class BadScript(ScriptError):
    """A script holds something that is not a reply, or that this call cannot wait for."""

    code = "bad_script"


class RequestRefused(Exception):
    """The service answered a request with an error status in place of a response.

    `status` is the HTTP status, `body` the parsed JSON body, or its text where it is not JSON.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"the service answered {status}: {json.dumps(body, ensure_ascii=False)[:1000]}")
        self.status = status
        self.body = body


class StreamCut(Exception):
    """An event stream ended without `[DONE]`."""
