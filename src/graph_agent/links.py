"""Which addresses of documents may reach a client as a link: the web's, and paths. A document's address is data."""

import re

WEB = frozenset({"http", "https"})
PATHS = ("dbfs:/volumes/",)
"""Volumes by their other name."""

RUNNING = frozenset(
    {"javascript", "vbscript", "livescript", "data", "file", "blob", "filesystem", "view-source", "about"}
)
"""Schemes that run something, or show what is on the reader's machine."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}+):")


def safe_link(address: str, *, names: bool = False) -> str:
    """The address where it is one of the web or a path, else the same text as a path that leads nowhere.

    Control characters are taken out, and white space around it, as browsers do before they read a scheme. The colon
    of any other scheme is written as `%3A`, so that nothing runs and what it said can be read. With `names` a graph's
    own names for documents, such as `doc://1`, stay as they are.
    """
    plain = "".join(one for one in address if one.isprintable()).strip()
    if plain.lower().startswith(PATHS):
        return plain
    scheme = _SCHEME.match(plain)
    if scheme is not None and scheme[1].lower() in WEB:
        return plain
    if names and scheme is not None and plain.startswith("//", scheme.end()) and scheme[1].lower() not in RUNNING:
        return plain
    # Also as HTML writes one: a page that puts the address into a link reads `&colon;` as a colon.
    head, slash, rest = plain.partition("/")
    return head.replace(":", "%3A").replace("&", "%26") + slash + rest
