"""The headers that keep the chat page and the documentation safe: they run only their own files, and talk only to their
own server."""

from collections.abc import Iterable, Mapping

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'self'",
    ]
)
"""No inline script and no inline style. It has no address for reports: they would tell what a user reads."""

_EVERY: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

PAGE: Mapping[str, str] = {
    **_EVERY,
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
"""The headers of the page and of its files."""


def documentation_headers(scripts: Iterable[str]) -> Mapping[str, str]:
    """The headers of the documentation. Of inline scripts, only those with these hashes may run, as `sha256-…`."""
    allowed = " ".join(["'self'", *(f"'{one}'" for one in scripts)])
    # The search runs in a worker.
    policy = CONTENT_SECURITY_POLICY.replace("script-src 'self'", f"script-src {allowed}; worker-src 'self'")
    return {**PAGE, "content-security-policy": policy}


IMAGE: Mapping[str, str] = {**_EVERY, "content-security-policy": "default-src 'none'; sandbox"}
"""The headers of an image of the operator. An SVG that somebody opens as a page can run nothing and load nothing."""
