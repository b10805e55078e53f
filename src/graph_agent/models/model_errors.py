"""Exceptions of model clients as errors that say what to change.

They are recognized by status codes and httpx exceptions, which the clients of most providers share. No client is
imported here. Messages of the clients are never quoted, as they contain requests, answers and keys.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import httpx
from langchain_core.exceptions import ContextOverflowError

from graph_agent.databricks.retry_after import NOT_IMPLEMENTED, duration_text, too_long
from graph_agent.errors import (
    AgentError,
    ModelContextExceeded,
    ModelFailed,
    ModelRateLimited,
    ModelTimedOut,
    Unauthenticated,
)

_TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size)|maximum context|(?:prompt|input) is too long|too many (?:input )?tokens"
    r"|token count exceeds|exceeds the maximum number of tokens|does not fit .{0,40}window",
    re.IGNORECASE,
)

MOST_READ = 4_000
"""Characters of an error in which its reason is searched."""

EMPTY = "returned an empty answer: check its logs, and try again"
REFUSED = "the workspace does not accept the user's token: sign in again, or get a new token, and repeat the request"


class InvalidModelAnswer(Exception):
    """A model's server answered, but not with a completion. `problem` completes a sentence that begins with its name.

    `status_code` is the HTTP status that an error in the answer names, if any.
    """

    def __init__(self, problem: str, *, status: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status_code = status


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """Which model is called, with which identity, and within which limits."""

    name: str
    """The model in error messages: `model endpoint 'my-llm'`."""

    acting_as: Literal["app", "user", "key"]
    """Whose permissions it uses: the app's or the user's on Databricks, or a key for another provider."""

    total_seconds: float
    """Limit for the whole call."""

    tries: int | None = None
    """Attempts, the first included, if known."""

    silence_seconds: float | None = None
    """Longest wait for the next piece of the answer, if known."""

    def took_too_long(self) -> ModelTimedOut:
        """The error for a call that exceeded its total time."""
        return ModelTimedOut(
            f"{self.name} did not finish within {self.total_seconds:g} s: "
            "ask for less, or raise GRAPH_AGENT_MODEL_SECONDS"
        )


def model_error(error: Exception, asked: ModelCall) -> AgentError:
    """The typed error for an exception of a model's client."""
    # The whole chain, as clients wrap exceptions of httpx, and those of our own hooks.
    chain = list(_chain(error))
    ours = next((one for one in chain if isinstance(one, AgentError)), None)
    if ours is not None:
        return ours
    status = next((code for one in chain if (code := _status(one)) is not None), None)
    if status is None:
        return _transport_error(chain, asked)
    if _is_too_long(status, chain):
        return ModelContextExceeded(f"the conversation is too long for {asked.name}: start a new one, or ask for less")
    wait = next((seconds for one in chain if (seconds := _wait(one)) is not None), None)
    # None of these was retried, so the message names no number of tries.
    once = status == NOT_IMPLEMENTED or wait is not None or any(isinstance(one, InvalidModelAnswer) for one in chain)
    return _status_error(status, asked, "" if once else _tries(asked), wait)


def _status_error(status: int, asked: ModelCall, tries: str, wait: float | None) -> AgentError:
    name = asked.name
    later = "try again later" if wait is None else f"try again in {duration_text(wait)}"
    match status:
        case 400 | 422:
            refused = ModelFailed(
                f"{name} does not accept the request ({status}): the conversation may be too long for it, or it may "
                "not support one of the parameters or tools"
            )
            refused.refuses_request = True
            return refused
        case 401 if asked.acting_as == "user":
            # A token that is not a JWT does not say when it expires, so the endpoint is the first to notice.
            return Unauthenticated(REFUSED)
        case 401 | 403:
            return ModelFailed(f"{name} refused the call ({status}): {_permission(status, asked)}")
        case 404:
            return ModelFailed(f"{name} does not exist (404): check the name, {_where(asked)}")
        case 429:
            limited = ModelRateLimited(f"{name} is rate limited (429){tries}: {later}, or raise its rate limit")
            limited.retry_after = None if wait is None else math.ceil(wait)
            return limited
        case 408 | 504:
            return ModelTimedOut(f"{name} timed out ({status}){tries}: try again, or ask for less")
        case 502 | 503 if wait is not None:
            return ModelFailed(f"{name} is not available ({status}): {later}; it may be starting or updating")
        case 502 | 503:
            return ModelFailed(
                f"{name} is not available ({status}){tries}: it may be starting or updating; check its state"
            )
        case _:
            return ModelFailed(f"{name} failed ({status}){tries}: check its logs")


def _transport_error(chain: list[BaseException], asked: ModelCall) -> ModelFailed:
    name = asked.name
    for one in chain:
        if isinstance(one, InvalidModelAnswer):
            return ModelFailed(f"{name} {one.problem}")
        if isinstance(one, httpx.ConnectError | httpx.ConnectTimeout | ConnectionRefusedError):
            return ModelFailed(f"{name} cannot be reached{_tries(asked)}: check {_host(asked)} and the network")
        if isinstance(one, httpx.TimeoutException | TimeoutError):
            silence = "too long" if asked.silence_seconds is None else f"{asked.silence_seconds:g} s"
            return ModelTimedOut(f"{name} sent nothing for {silence}: try again, or raise GRAPH_AGENT_SILENCE_SECONDS")
        if isinstance(one, httpx.TransportError | ConnectionError):
            return ModelFailed(f"{name} ended its answer early: try again")
    kind = type(chain[0])
    if kind.__name__ == "APIError" and kind.__module__.partition(".")[0] == "openai":
        # The client raises its base class for an error frame in a stream.
        return ModelFailed(f"{name} ended its answer with an error: check its logs, and try again")
    return ModelFailed(f"{name} could not be called ({kind.__name__}); see the service's log for the place")


def _permission(status: int, asked: ModelCall) -> str:
    if asked.acting_as == "key":
        return "check its API key"
    if asked.acting_as == "user":
        return (
            "the calling user needs CAN_QUERY on it, and the app the user scope model-serving; "
            "if both are in place, the user's token has expired: sign in again"
        )
    if status == 401:
        return "the app's credentials are not accepted; check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
    return "the app's service principal needs CAN_QUERY on it"


def _where(asked: ModelCall) -> str:
    return "such as in GRAPH_AGENT_MODEL" if asked.acting_as == "key" else "and that its endpoint is in this workspace"


def _host(asked: ModelCall) -> str:
    return "its address" if asked.acting_as == "key" else "DATABRICKS_HOST"


def _tries(asked: ModelCall) -> str:
    return "" if asked.tries is None else f", tried {asked.tries} times" if asked.tries > 1 else ", tried once"


def _wait(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return too_long(headers) if isinstance(headers, Mapping) else None


def _is_too_long(status: int, chain: list[BaseException]) -> bool:
    """Whether the conversation does not fit the model's window. The text of a client's error is read for it, and never
    quoted: most endpoints have no code for it."""
    if status == 413 or any(isinstance(one, ContextOverflowError) for one in chain):
        return True
    return status in (400, 422) and any(_TOO_LONG.search(str(one)[:MOST_READ]) for one in chain)


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) and status >= 400 else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    # Causes and contexts can form a cycle.
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
