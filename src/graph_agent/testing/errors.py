"""Errors for tests whose script or request is wrong."""

import json
from typing import Any

from graph_agent.errors import RunError


class ScriptError(RunError):
    """The script of a test double is wrong. The run fails with this message, and the client receives it too."""

    code = "script_error"


class ScriptExhausted(ScriptError):
    """A model was called more often than its script has replies."""

    code = "script_exhausted"


class BadScript(ScriptError):
    """A script contains something that is not a reply, or a `Wait` that this kind of call cannot wait for."""

    code = "bad_script"


class RequestRefused(Exception):
    """The service answered a request with an error status instead of a response.

    `status` is the HTTP status. `body` is the parsed JSON body, or its text if it is not JSON.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"the service answered {status}: {json.dumps(body, ensure_ascii=False)[:1000]}")
        self.status = status
        self.body = body


class StreamCut(Exception):
    """An event stream ended without `[DONE]`."""
