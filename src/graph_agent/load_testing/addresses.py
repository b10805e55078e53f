"""The address that a load test asks, and the form of its requests: Responses or Chat Completions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import orjson

from graph_agent.load_testing.errors import LoadRefused
from graph_agent.load_testing.questions import Question
from graph_agent.trusted_hosts import is_loopback

Form = Literal["responses", "chat"]

PLAIN, OF_APP = "/responses", "/api/responses"
"""The address of a service, and of a deployed app: Databricks Apps accepts tokens only below `/api/`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to ask, and as whom."""

    url: httpx.URL

    headers: Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    """Returns the headers that sign a request in. It may block, because a token is renewed there."""

    graph: str | None = None
    """What requests name as their `model`, or `None` for the default of the service."""

    stored: bool = False
    """Whether answers are stored, as on the chat page."""

    @property
    def form(self) -> Form:
        """The form of the requests, by the end of the path."""
        return "chat" if self.url.path.rstrip("/").endswith("/chat/completions") else "responses"

    @property
    def shown(self) -> str:
        """The address without user, password and query, which may hold secrets."""
        return str(self.url.copy_with(username=None, password=None, query=None, fragment=None))

    @property
    def host(self) -> str:
        """The name of the host."""
        return self.url.host

    @property
    def is_here(self) -> bool:
        """Whether the load stays on this machine."""
        return is_loopback(self.url.host)

    def body(self, question: Question) -> bytes:
        """The body of the request that asks this question and streams the answer."""
        if self.form == "chat":
            messages = [{"role": "user", "content": question}] if isinstance(question, str) else question
            asked: dict[str, Any] = {"messages": messages, "stream_options": {"include_usage": True}}
        else:
            asked = {"input": question, "store": self.stored}
        named = {"model": self.graph} if self.graph else {}
        return orjson.dumps({**asked, **named, "stream": True})


def url_of(text: str, *, path: str = PLAIN) -> httpx.URL:
    """The address in a command line. Without a path of its own it gets `path`.

    Raises:
        LoadRefused: it is not an HTTP address with a host.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise LoadRefused("the address is not one; give it as http://HOST:PORT, or with a path that streams answers")
    return url if url.path.strip("/") else url.copy_with(path=path)
