"""Decides which web pages and host names may use a server on this machine.

A page of any site can send requests to loopback, and with DNS rebinding it can do so under the site's own host name.
The browser's headers reveal both: `Origin` is the site of the page, and `Host` is the name that the page used. Sources:
the Fetch standard (CORS-safelisted requests), RFC 9110 (`Host`), RFC 6454 (`Origin`).
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Headers = Iterable[tuple[bytes, bytes]]
"""Headers as in ASGI: names in lower case."""

NO_HOST = "send exactly one Host header"
FOREIGN_HOST = "the Host header is not a name of this server: use localhost or 127.0.0.1, or {remedy}"
FOREIGN_PAGE = "a page at this Origin may not use this server; to allow it, {remedy}"
NOT_JSON = "the body must be declared as JSON: send the header 'Content-Type: application/json'"

DEFAULT_PORTS = {"http": "80", "https": "443"}
"""Ports that a browser leaves out."""

_AUTHORITY = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_ORIGIN = re.compile(r"https?://(?P<authority>[^/?#@\s]{1,300})", re.ASCII)
_SITE = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://(?P<host>[a-z0-9._-]{1,253}|\[[0-9a-f:]{2,45}\])(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_SERVER = re.compile(
    r"(?P<scheme>[Hh][Tt][Tt][Pp][Ss]?)://(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()+;=:@%/-]{0,1000})?",
    re.ASCII,
)
_JSON = re.compile(r"application/(?:[\w.-]{1,60}\+)?json")
_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedHosts:
    """The host names under which a server may be used. Those of loopback always may, at every port."""

    names: frozenset[str] = frozenset()
    """Further names, in lower case."""

    addresses: bool = False
    """Whether every IP address is trusted, for a server bound to more than loopback. DNS rebinding needs a name, so no
    page can use an address for it."""

    origins: frozenset[str] = frozenset()
    """Other sites whose pages may use the server, such as `https://smith.langchain.com`, or `*` for all."""

    remedy: str = "use it on the machine where it runs"
    """What a message says to do about a name that is missing here."""

    @classmethod
    def bound_to(
        cls, host: str, names: Iterable[str] = (), *, origins: Iterable[str] = (), remedy: str
    ) -> "TrustedHosts":
        """The names of a server bound to `host`, and the sites whose pages may use it."""
        addresses = not is_loopback(host)
        return cls(
            names=frozenset([*names, host.lower()]), addresses=addresses, origins=frozenset(origins), remedy=remedy
        )

    def refusal(self, headers: Headers) -> str | None:
        """Why a request with these headers is refused, or `None` if it is not."""
        given = list(headers)
        hosts = [value for name, value in given if name == b"host"]
        # With two, a proxy and this server may each believe another one.
        if len(hosts) != 1:
            return NO_HOST
        if not self._has(hosts[0].decode("latin-1")):
            return FOREIGN_HOST.format(remedy=self.remedy)
        if not all(self._is_own(value.decode("latin-1")) for name, value in given if name == b"origin"):
            return FOREIGN_PAGE.format(remedy=self.remedy)
        return None

    def _is_own(self, origin: str) -> bool:
        # `null`, the origin of sandboxed pages and local files, does not match: any site can make a sandboxed page.
        match = _ORIGIN.fullmatch(origin)
        return origin in self.origins or "*" in self.origins or (match is not None and self._has(match["authority"]))

    def _has(self, authority: str) -> bool:
        match = _AUTHORITY.fullmatch(authority)
        if match is None or int(match["port"] or 0) > 65535:
            return False
        # A trailing dot marks an absolute name, which means the same host.
        name = match["name"].lower().removesuffix(".")
        if name in self.names or is_loopback(name):
            return True
        return self.addresses and _address(name) is not None


def is_of_same_host(headers: Headers) -> bool:
    """Whether a request comes from no page, or from a page of the host that it is sent to.

    Behind a proxy, `X-Forwarded-Host` may name that host. No page can set either header.
    """
    given = list(headers)
    origins = {value for name, value in given if name == b"origin"}
    hosts = {value.decode("latin-1").lower() for name, value in given if name in (b"host", b"x-forwarded-host")}
    return all(any(_names(origin.decode("latin-1").lower(), host) for host in hosts) for origin in origins)


def _names(origin: str, host: str) -> bool:
    """Whether an origin is that of a host, with or without the default port."""
    scheme, _, authority = origin.partition("://")
    default = f":{DEFAULT_PORTS[scheme]}" if scheme in DEFAULT_PORTS else ""
    return bool(default) and authority.removesuffix(default) == host.removesuffix(default) != ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is loopback. `[::1]` counts like `::1`."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_host_name(text: str) -> bool:
    """Whether the text is only a host name, in lower case: no scheme, port, path or wildcard."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def is_origin(text: str) -> bool:
    """Whether the text is an origin as a browser sends it, in lower case: scheme and host, with a port if it is not the
    default one of the scheme. `null` and `*` are not: any page can have the former, and every page has the latter."""
    match = _SITE.fullmatch(text)
    if match is None or not (is_host_name(match["host"]) or _address(match["host"]) is not None):
        return False
    port = match["port"]
    return port is None or (0 < int(port) <= 65535 and port != DEFAULT_PORTS.get(match["scheme"]) and port[0] != "0")


def server_address(url: str) -> str | None:
    """The address of a server that gets credentials, in the one form in which addresses are compared: scheme and host
    in lower case, no default port, and the path as it is. `None` if the text is not such an address.

    It is https unless the host is loopback. It has no user, query, fragment, wildcard, or path that leads upward.
    """
    match = _SERVER.fullmatch(url)
    if match is None:
        return None
    scheme, name, port = match["scheme"].lower(), match["name"].lower(), match["port"]
    is_address = _address(name) is not None
    if not (is_address or is_host_name(name)) or (scheme == "http" and not is_loopback(name)):
        return None
    if not is_address and name.rpartition(".")[2].isdigit():
        # Such as 127.1 or 2130706433, which some resolvers read as an address.
        return None
    if port is not None and not 0 < int(port) <= 65535:
        return None
    path = match["path"] or "/"
    if any(part in (".", "..") for part in path.lower().replace("%2e", ".").split("/")):
        return None
    has_port = port is not None and int(port) != int(DEFAULT_PORTS[scheme])
    authority = f"{name}:{int(port)}" if has_port else name
    return f"{scheme}://{authority}{path}"


def is_json(headers: Headers) -> bool:
    """Whether the headers declare a JSON body. Pages of other sites need the server's permission (CORS) for that."""
    given = {
        value.decode("latin-1").partition(";")[0].strip().lower() for name, value in headers if name == b"content-type"
    }
    return len(given) == 1 and all(_JSON.fullmatch(kind) for kind in given)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    # `::ffff:127.0.0.1` is the IPv4 address, and loopback too.
    return getattr(address, "ipv4_mapped", None) or address
