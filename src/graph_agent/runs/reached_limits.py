"""What people and clients are told about the limits for people."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from graph_agent.errors import LimitReached
from graph_agent.stores.usage_records import Reached, Standing, Window

RETRY_SECONDS = 5
"""When a call may be tried again that waited for the end of others."""


def limit_reached(reached: Reached, *, now: float, needed: int | None = None, waited: bool = False) -> LimitReached:
    """The error for a request or a model call that a limit refuses. `needed` are the tokens of the call. `waited` says
    that calls in progress have reserved what is left."""
    window = reached.window
    of_user = reached.whose == "user"
    whose = "your limit" if of_user else "the limit of all users together"
    resets = _time(window.resets_at)
    message = f"{whose} of {window.limit} {reached.unit} per {reached.period} is reached"
    if needed is not None:
        message = (
            f"{whose} of {window.limit} tokens per day leaves {max(window.left, 0)}, and the next model call may need "
            f"{needed}"
        )
    if waited:
        message += ", because other answers in progress have reserved theirs; try again when they have ended"
    else:
        message += f"; it resets at {resets}"
    return LimitReached(
        message,
        unit=reached.unit,
        may_be_raised=of_user and reached.unit == "tokens" and not waited,
        retry_after=RETRY_SECONDS if waited else _seconds_until(window, now),
        ratelimits=ratelimits(reached.standing, now=now),
        details={"tokens_per_day": window.limit, "tokens_left": max(window.left, 0), "resets_at": resets},
    )


def ratelimits(standing: Standing, *, now: float) -> Mapping[str, str]:
    """What is left, as the headers of OpenAI's API name it, without their common beginning."""
    found = {}
    for unit, window in (("requests", standing.requests), ("tokens", standing.tokens)):
        if window is not None:
            found[f"limit-{unit}"] = str(window.limit)
            found[f"remaining-{unit}"] = str(max(window.left, 0))
            found[f"reset-{unit}"] = f"{_seconds_until(window, now)}s"
    return found


def _seconds_until(window: Window, now: float) -> int:
    return max(math.ceil(window.resets_at - now), 1)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
