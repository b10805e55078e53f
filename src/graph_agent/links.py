"""Which addresses of documents may reach a client as a link: the web's, and paths. A document's address is data."""

import re

WEB = frozenset({"http", "https"})
PATHS = ("dbfs:/volumes/",)
"""Volumes by their other name."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40}+):")


def as_link(address: str) -> str:
    """The address where it is one of the web or a path, else the same text as a path that leads nowhere.

    Control characters are taken out, and white space around it, as browsers do before they read a scheme. The colon
    of any other scheme is written as `%3A`, so that nothing runs and what it said can be read.
    """
    plain = "".join(one for one in address if one.isprintable()).strip()
    if plain.lower().startswith(PATHS):
        return plain
    scheme = _SCHEME.match(plain)
    if scheme is not None and scheme[1].lower() in WEB:
        return plain
    # Also as HTML writes one: a page that puts the address into a link reads `&colon;` as a colon.
    head, slash, rest = plain.partition("/")
    return head.replace(":", "%3A").replace("&", "%26") + slash + rest
