"""Asks the workspace whose token a forwarded token is. Each token is asked about once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from graph_agent.app_context import AppContext
from graph_agent.databricks.clients import get_user_workspace_client
from graph_agent.databricks.index_errors import status_of
from graph_agent.errors import AgentError, TooManyRuns, Unauthenticated, WorkspaceUnavailable
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, unverified_claims, with_user_token
from graph_agent.threads import run_in_call_thread

WHO_AM_I = "/api/2.0/preview/scim/v2/Me"

MOST_KNOWN = 10_000
"""Tokens whose user is remembered."""

MOST_ASKED = 8
"""Concurrent questions. Anyone can send tokens that nobody knows, and each question holds a thread."""

OPAQUE_SECONDS = 900.0
"""How long the user of a token is remembered that does not say when it expires."""

LONGEST_SECONDS = 86_400.0

REFUSED = "the workspace does not accept the forwarded user token: sign in again and repeat the request"
NOT_ALLOWED = (
    "the forwarded user token may not say whose it is: give the app the user scope iam.current-user:read, and sign in "
    "again"
)
UNREADABLE = "the workspace did not say whose token the forwarded user token is; try again"
TOO_MANY = "too many unknown user tokens are being looked up; try again shortly"


class TokenUsers:
    """The users of forwarded tokens, as the workspace says. One for each app."""

    def __init__(self, app: AppContext, *, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._clock = clock
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Caller]] = {}

    async def user_of(self, token: UserToken) -> Caller:
        """The user to whom the token belongs.

        Raises:
            Unauthenticated: the workspace does not accept the token.
            TooManyRuns: too many other tokens are being looked up.
            WorkspaceUnavailable: the workspace does not answer.
        """
        known, now = self._known.get(token.key), self._clock()
        if known is not None and known[1] > now:
            self._known.move_to_end(token.key)
            return known[0]
        asking = self._asking.get(token.key)
        if asking is None:
            if len(self._asking) >= MOST_ASKED:
                raise TooManyRuns(TOO_MANY, retry_after=2)
            asking = self._asking[token.key] = asyncio.create_task(self._ask(token))
            asking.add_done_callback(lambda task: self._answered(token, task))
        # Shielded: other requests with this token wait for the same answer.
        return await asyncio.shield(asking)

    async def _ask(self, token: UserToken) -> Caller:
        with self._app.entered(), with_user_token(token):
            return await run_in_call_thread(_who_am_i)

    def _answered(self, token: UserToken, task: "asyncio.Task[Caller]") -> None:
        self._asking.pop(token.key, None)
        if task.cancelled() or task.exception() is not None:
            return
        now = self._clock()
        ends = unverified_claims(token.value).get("exp")
        # The workspace has just verified the token, and with it the claim.
        until = float(ends) if isinstance(ends, int | float) else now + OPAQUE_SECONDS
        self._known[token.key] = task.result(), min(until, now + LONGEST_SECONDS)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def _who_am_i() -> Caller:
    try:
        answer = get_user_workspace_client().api_client.do("GET", WHO_AM_I)
    except AgentError:
        raise
    except Exception as error:
        raise _refusal(error) from error
    fields: Mapping[str, Any] = answer if isinstance(answer, Mapping) else {}
    user, name = fields.get("id"), fields.get("userName")
    if not isinstance(user, str) or not user:
        raise WorkspaceUnavailable(UNREADABLE)
    return Caller(user, name if isinstance(name, str) and "@" in name else None, "apps")


def _refusal(error: Exception) -> AgentError:
    match status_of(error):
        case 400 | 401:
            return Unauthenticated(REFUSED)
        case 403:
            return Unauthenticated(NOT_ALLOWED)
        case _:
            return WorkspaceUnavailable(UNREADABLE)
