"""How long a server asks clients to wait, and when that is too long to wait for."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_WAIT = 10.0
"""Longest wait in seconds. The caller gets an error for a longer one immediately, as a person is waiting."""


NOT_IMPLEMENTED = 501
"""A status for which a retry is pointless, as the server does not support the request."""


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds of a `Retry-After` header, which holds a number or a date; `None` without a readable one.

    Source: RFC 9110, section 10.2.3.
    """
    # Both spellings: a plain mapping is case-sensitive, unlike the headers of httpx and requests.
    text = str(headers.get("retry-after") or headers.get("Retry-After") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        return _until(text) if text else None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def too_long(headers: Mapping[str, Any], *, longest: float = LONGEST_WAIT) -> float | None:
    """The requested seconds if they are more than `longest`, else `None`."""
    seconds = retry_after(headers)
    return seconds if seconds is not None and seconds > longest else None


def long_wait_of(response: Any) -> str | None:
    """The message for a 429 or 503 that asks for a long wait; `None` for every other response of `requests`.

    The SDK would sleep for that time in a thread. Where the header holds a date, it would retry immediately.
    """
    wait = too_long(response.headers) if response.status_code in (429, 503) else None
    if wait is None:
        return None
    return f"asks clients to wait {duration_text(wait)} ({response.status_code}): try again then"


def duration_text(seconds: float) -> str:
    """`45 s`, `3 min` or `2 h`, rounded up."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 7200 else f"{math.ceil(seconds / 3600)} h"


def _until(text: str) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # A date with `-0000` has no time zone and means UTC.
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)
