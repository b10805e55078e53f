"""How long a server asks to be left alone, and when that is too long to sleep through."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_WAIT = 10.0
"""Seconds that are waited for the caller, who is told of a longer wait at once: a person sits there."""


NOT_IMPLEMENTED = 501
"""A status that is not worth repeating: no server learns between two requests."""


def retry_after(headers: Mapping[str, Any]) -> float | None:
    """The seconds of a `Retry-After`, which gives a number or a date; `None` where there is none that can be read.

    Source: RFC 9110, section 10.2.3.
    """
    text = str(headers.get("retry-after") or headers.get("Retry-After") or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        return _until(text) if text else None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def too_long(headers: Mapping[str, Any], *, longest: float = LONGEST_WAIT) -> float | None:
    """The seconds asked for, where they are more than `longest`."""
    seconds = retry_after(headers)
    return seconds if seconds is not None and seconds > longest else None


def long_wait_of(response: Any) -> str | None:
    """What to tell of a refusal (429 or 503) that asks for a long wait; `None` for every other response of `requests`.

    The SDK would sleep through it in a thread, and ask again at once where it is a date.
    """
    wait = too_long(response.headers) if response.status_code in (429, 503) else None
    if wait is None:
        return None
    return f"asks to be left alone for {duration_text(wait)} ({response.status_code}): try again then"


def duration_text(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h`, never less than it is."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{math.ceil(seconds / 60)} min" if seconds < 7200 else f"{math.ceil(seconds / 3600)} h"


def _until(text: str) -> float | None:
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)
