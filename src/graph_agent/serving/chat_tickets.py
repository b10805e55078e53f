"""Tickets with which the chat app behind the service asks for the user whose request it answers.

On Databricks Apps without user authorization the proxy names the user, but forwards no token of theirs. What the chat
app sends to the service on this machine would then name nobody. So the service gives the chat app a ticket in the
header of the missing token, and the chat app sends it along as it would send the token.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Self

from graph_agent.errors import Unauthenticated
from graph_agent.identity.caller import Caller

BEGINNING = "graph-agent-ticket~"
"""No token of Databricks begins like this. `~` may be in an `Authorization` header, where the chat app repeats it."""

SECONDS = 900.0
"""How long a ticket is good. The chat app uses it for the request that it answers, and tries again after failures."""

CONTEXT = b"graph-agent ticket for the chat app"

WRONG = "the ticket of the chat app was not made by this service: send the header as the request to the chat app had it"
EXPIRED = "the ticket of the chat app has expired: repeat the request to the chat app"


class ChatTickets:
    """Makes and reads tickets. Each names one user, and is good for some minutes."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Tickets that every process of this app can read."""
        secret = environ.get("DATABRICKS_CLIENT_SECRET")
        # The platform gives each app a secret of its own, and the workers of one service share it.
        return cls(_mac(secret.encode("utf-8", "surrogateescape"), CONTEXT) if secret else secrets.token_bytes(32))

    def write(self, user: Caller) -> str:
        """A ticket for a user of Databricks Apps."""
        said = json.dumps([user.user, user.email, self._clock() + SECONDS]).encode()
        return f"{BEGINNING}{_text(said)}~{_text(_mac(self._key, said))}"

    def read(self, value: str) -> Caller:
        """Whom a ticket names.

        Raises:
            Unauthenticated: it is not a ticket of this service, or it has expired.
        """
        said, _, mac = value.removeprefix(BEGINNING).partition("~")
        try:
            content, given = _bytes(said), _bytes(mac)
        except (binascii.Error, ValueError):
            raise Unauthenticated(WRONG) from None
        if not is_ticket(value) or not hmac.compare_digest(given, _mac(self._key, content)):
            raise Unauthenticated(WRONG)
        user, email, ends = json.loads(content)
        if ends <= self._clock():
            raise Unauthenticated(EXPIRED)
        return Caller(user, email, "apps")


def is_ticket(value: str) -> bool:
    """Whether this is a ticket and not a user's token."""
    return value.startswith(BEGINNING)


def _mac(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, hashlib.sha256)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
