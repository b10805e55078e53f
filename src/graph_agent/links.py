"""Makes the addresses of documents safe to use as links. The address of a document is data and may be malicious."""

import re

WEB = frozenset({"http", "https"})
PATHS = ("dbfs:/volumes/",)
"""Another form of the paths of Unity Catalog volumes."""

RUNNING = frozenset(
    {"javascript", "vbscript", "livescript", "data", "file", "blob", "filesystem", "view-source", "about"}
)
"""Schemes that execute code or show files of the reader's machine."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}+):")


def safe_link(address: str, *, names: bool = False) -> str:
    """Return a web address or a path as it is, and any other address as a path that leads nowhere.

    The colon of any other scheme becomes `%3A`, so that nothing can run and people can still read the address. With
    `names`, a graph's own names for documents, such as `doc://1`, are kept.
    """
    # Browsers remove control characters and surrounding white space before they read the scheme.
    plain = "".join(one for one in address if one.isprintable()).strip()
    # Before the scheme is read: `dbfs:` looks like one.
    if plain.lower().startswith(PATHS):
        return plain
    scheme = _SCHEME.match(plain)
    if scheme is not None and scheme[1].lower() in WEB:
        return plain
    if names and scheme is not None and plain.startswith("//", scheme.end()) and scheme[1].lower() not in RUNNING:
        return plain
    # `&` too: a page that puts the address into HTML would read `&colon;` as a colon.
    head, slash, rest = plain.partition("/")
    return head.replace(":", "%3A").replace("&", "%26") + slash + rest
