"""On whose behalf a run acts on Databricks: the one place a caller's token lives.

It is a context variable, so that it follows a run into its tasks and threads and nowhere else: not into the graph's
configuration (LangGraph writes that into checkpoints), its state, a span or a log. It ends with the run.
"""

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from graph_agent.errors import Unauthenticated
from graph_agent.redaction import with_hidden_values
from graph_agent.run_lifetime import current_lifetime

NO_USER = (
    "this call acts for the calling user, and the request carried no user token: call the app through its Databricks "
    "Apps address, with user authorization switched on for it"
)
RUN_ENDED = "this call acts for the calling user, and the run that it belonged to has ended"
EXPIRED = "the user's token has expired: sign in again, or fetch a new token, and repeat the request"


@dataclass(frozen=True, slots=True)
class UserToken:
    """A caller's access token, as the Apps proxy forwarded it. Its text shows in no `repr`."""

    value: str = field(repr=False)

    @property
    def key(self) -> str:
        """Names the token without telling it: what caches of per-user things are keyed by."""
        return hashlib.sha256(self.value.encode("utf-8", "surrogateescape")).hexdigest()

    def expired(self, *, now: float | None = None) -> bool:
        """Whether its `exp` claim (RFC 7519, seconds) has passed; a token that is not a JWT tells nothing."""
        ends = unverified_claims(self.value).get("exp")
        return isinstance(ends, int | float) and ends <= (time.time() if now is None else now)


_TOKEN: ContextVar[UserToken | None] = ContextVar("graph_agent_user_token", default=None)


@contextmanager
def with_user_token(token: UserToken | None) -> Iterator[None]:
    """Within it, calls on behalf of the user carry `token`; tasks and copied contexts that begin in it keep it."""
    before = _TOKEN.set(token)
    try:
        with with_hidden_values(None if token is None else [token.value]):
            yield
    finally:
        _TOKEN.reset(before)


def user_token() -> UserToken:
    """The token of the user this run acts for.

    Raises:
        Unauthenticated: there is none, it has expired, or the run has ended and this is a task or a thread that it left
            behind. The app's identity never stands in.
    """
    token, lifetime = _TOKEN.get(), current_lifetime()
    if token is None:
        raise Unauthenticated(NO_USER)
    if lifetime is not None and lifetime.over:
        raise Unauthenticated(RUN_ENDED)
    if token.expired():
        raise Unauthenticated(EXPIRED)
    return token


def unverified_claims(token: str) -> dict[str, Any]:
    """A JWT's claims, unverified: nobody is believed for them. A token that is no JWT has none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
