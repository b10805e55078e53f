"""The address at which an operator looks at the trace of an answer, made from a template such as
`https://traces.example/{trace_id}`."""

import re
from urllib.parse import quote, urlsplit

LONGEST = 2000
"""Characters of a template. Some browsers open no longer address."""

_PLACE = re.compile(r"\{(trace_id|response_id)\}")


def is_trace_template(template: str) -> bool:
    """Whether a template is a web address with `{trace_id}`, `{response_id}` or both behind its host."""
    if len(template) > LONGEST or not template.isascii() or any(one <= " " or one in '\\"<>\x7f' for one in template):
        return False
    try:
        parts = urlsplit(template)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not port_is_right:
        return False
    rest = _PLACE.sub("", template)
    return not any(one in rest for one in "{}") and rest != template and not _PLACE.search(parts.netloc)


def trace_link(template: str | None, *, trace: str | None, response: str) -> str | None:
    """The address of the trace of a response, or `None` without a template or a trace.

    The ids are written as one segment of a path: an id of a trace in Unity Catalog has a colon and slashes.
    """
    if template is None or trace is None:
        return None
    ids = {"trace_id": trace, "response_id": response}
    return _PLACE.sub(lambda place: quote(ids[place[1]], safe=""), template)
