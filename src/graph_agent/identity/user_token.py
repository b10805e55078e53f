"""The token of the user for whom a run calls Databricks. It is kept only here.

The token is in a context variable. So it follows a run into its tasks and threads and nowhere else: not into the
graph's configuration (LangGraph writes that into checkpoints), its state, a span or a log. It ends with the run.
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
    "this call acts for the calling user, but the request carried no user token: call the app through its Databricks "
    "Apps address, and turn on user authorization for the app"
)
RUN_ENDED = "this call acts for the calling user, but its run has ended"
EXPIRED = "the user's token has expired: sign in again, or fetch a new token, and repeat the request"


@dataclass(frozen=True, slots=True)
class UserToken:
    """A caller's access token, as the Apps proxy forwarded it. Its `repr` does not show the text."""

    value: str = field(repr=False)

    @property
    def key(self) -> str:
        """A key for caches of per-user values. It identifies the token without revealing it."""
        # A token from a header may hold bytes that are not UTF-8, which arrive as surrogates.
        return hashlib.sha256(self.value.encode("utf-8", "surrogateescape")).hexdigest()

    def expired(self, *, now: float | None = None) -> bool:
        """Whether its `exp` claim (RFC 7519, seconds) has passed. A token that is not a JWT never expires here."""
        ends = unverified_claims(self.value).get("exp")
        return isinstance(ends, int | float) and ends <= (time.time() if now is None else now)


_TOKEN: ContextVar[UserToken | None] = ContextVar("graph_agent_user_token", default=None)


@contextmanager
def with_user_token(token: UserToken | None) -> Iterator[None]:
    """Within this context, calls on behalf of the user carry `token`. Tasks that start in it keep the token."""
    before = _TOKEN.set(token)
    try:
        with with_hidden_values(None if token is None else [token.value]):
            yield
    finally:
        _TOKEN.reset(before)


def user_token() -> UserToken:
    """The token of the user for whom this run acts. The app's own identity is never used instead.

    Raises:
        Unauthenticated: there is no token, it has expired, or the run has ended. The last happens in a task or thread
            that the run left behind.
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
    """The claims of a JWT, or nothing for another kind of token. They are not verified, so do not trust them."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        # JWTs leave out the padding that `b64decode` requires.
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
