"""The `Prefer` header (RFC 7240): whether a caller takes the answer to a long run later, and how long it waits."""

from dataclasses import dataclass

from starlette.datastructures import Headers

APPLIED = "respond-async"
"""The preference that is applied, as `Preference-Applied` names it."""

MOST_DIGITS = 6
"""The most digits of a number of seconds. Nobody waits for days."""


@dataclass(frozen=True, slots=True)
class RespondAsync:
    """The caller prefers to get the address of the response if the run takes long."""

    seconds: float | None
    """How long it waits before that. `None`: it does not say."""


def respond_async(headers: Headers) -> RespondAsync | None:
    """What the caller prefers, or `None`. What cannot be read is ignored, as the RFC demands."""
    found: dict[str, str] = {}
    for one in ",".join(headers.getlist("prefer")).split(","):
        name, _, value = one.partition(";")[0].partition("=")
        # Of several with one name, the first one counts.
        found.setdefault(name.strip().lower(), value.strip().strip('"'))
    if APPLIED not in found:
        return None
    wait = found.get("wait", "")
    return RespondAsync(float(wait) if wait.isascii() and wait.isdecimal() and len(wait) <= MOST_DIGITS else None)
