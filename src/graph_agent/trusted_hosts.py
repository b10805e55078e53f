"""Which pages of a browser may reach a server on this machine: those at names that are its own.

A page of any site can send requests to loopback, and by DNS rebinding under a name of its own. A browser gives both
away: `Origin` is where the page came from, `Host` the name it was told to ask. Sources: the Fetch standard
(CORS-safelisted requests), RFC 9110 (`Host`), RFC 6454 (`Origin`).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

NO_HOST = "send one Host header"
FOREIGN_HOST = "the Host header is no name of this server: use localhost or 127.0.0.1, or {remedy}"
FOREIGN_PAGE = "a page at this Origin may not use this server; if it may, {remedy}"
NOT_JSON = "say that the body is JSON: send the header 'Content-Type: application/json'"

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_ORIGIN = re.compile(r"https?://(?P<authority>[^/?#@\s]{1,300})", re.ASCII)
_JSON = re.compile(r"application/(?:[\w.-]{1,60}\+)?json")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedHosts:
    """The names under which a server is its users'; loopback's always are, at every port."""

    names: frozenset[str] = frozenset()
    """More of them, in lower case."""

    addresses: bool = False
    """Any IP address too, for a server that is bound to more than loopback: no page can make one its own."""

    origins: frozenset[str] = frozenset()
    """Pages elsewhere that may use the server, such as `https://smith.langchain.com`; `*` for every page."""

    remedy: str = "ask it where it runs"
    """What to do for a name that is missing here."""

    @classmethod
    def bound_to(cls, host: str, names: Iterable[str] = (), *, remedy: str) -> "TrustedHosts":
        """Those of a server bound to `host`."""
        return cls(names=frozenset([*names, host.lower()]), addresses=not is_loopback(host), remedy=remedy)

    def refusal(self, headers: Headers) -> str | None:
        """Why a request with these headers is refused; `None` if it is not."""
        given = list(headers)
        hosts = [value for name, value in given if name == b"host"]
        if len(hosts) != 1:
            return NO_HOST
        if not self._has(hosts[0].decode("latin-1")):
            return FOREIGN_HOST.format(remedy=self.remedy)
        if not all(self._is_own(value.decode("latin-1")) for name, value in given if name == b"origin"):
            return FOREIGN_PAGE.format(remedy=self.remedy)
        return None

    def _is_own(self, origin: str) -> bool:
        """`null`, the origin of sandboxed pages and of local files, is nobody's."""
        match = _ORIGIN.fullmatch(origin)
        return origin in self.origins or "*" in self.origins or (match is not None and self._has(match["authority"]))

    def _has(self, authority: str) -> bool:
        match = _AUTHORITY.fullmatch(authority)
        if match is None or int(match["port"] or 0) > 65535:
            return False
        name = match["name"].lower().removesuffix(".")
        if name in self.names or is_loopback(name):
            return True
        return self.addresses and _address(name) is not None


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own; `[::1]` as `::1`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_host_name(text: str) -> bool:
    """Whether it is the bare name of a host, in lower case: no scheme, port, path or wildcard."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def is_json(headers: Headers) -> bool:
    """Whether the body is said to be JSON. Pages of other sites cannot say so without asking first."""
    given = {
        value.decode("latin-1").partition(";")[0].strip().lower() for name, value in headers if name == b"content-type"
    }
    return len(given) == 1 and all(_JSON.fullmatch(kind) for kind in given)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
