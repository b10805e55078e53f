"""Digests of request bodies: two requests with the same digest ask for the same."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import orjson

from graph_agent.protocol.json_decoding import Pulse

HOW_IT_IS_ANSWERED = frozenset({"include", "stream", "stream_options", "databricks_options"})
"""Fields that change how a run is answered and not what it does. A client whose stream broke may ask for a whole
response instead: the stock chat page does."""


def digest_of(fields: Mapping[str, Any], pulse: Pulse) -> str:
    """The digest of the fields of a body. It does not depend on their order.

    Takes time linear in the size of the fields, and calls `pulse` often.
    """
    digest = sha256()
    for name in sorted(fields.keys() - HOW_IT_IS_ANSWERED):
        value = fields[name]
        # In pieces, because encoding holds the interpreter lock.
        pieces = value if isinstance(value, list) else (value,)
        digest.update(_canonical([name, isinstance(value, list), len(pieces)]))
        for piece in pieces:
            pulse()
            digest.update(_canonical(piece))
            digest.update(b"\n")
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # An integer beyond 64 bits, or half of a surrogate pair.
        return json.dumps(value, sort_keys=True).encode()
