"""What a page does in a browser that it must not do."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request


@dataclass
class Misdeeds:
    """What a page did that no test expects: errors on its console, requests to other hosts, cookies."""

    context: BrowserContext
    origin: str
    expected: list[str] = field(default_factory=list)
    """Beginnings of console errors that a test causes on purpose, such as a failed request."""

    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.errors.append(f"exception: {error.error}"))
        self.context.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        # A violation of the content security policy is an error on the console too.
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and f"{address.scheme}://{address.netloc}" != self.origin:
            self.elsewhere.append(request.url)

    def check(self) -> None:
        """Fail if there was one."""
        unexpected = [one for one in self.errors if not any(one.startswith(known) for known in self.expected)]
        assert unexpected == [], "the page wrote errors to the console"
        assert self.elsewhere == [], "the page asked another host"
        assert self.context.cookies() == [], "the page set cookies"
