"""The headers that keep the chat page safe: it runs only its own files, and talks only to its own server."""

from collections.abc import Mapping

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

IMAGE: Mapping[str, str] = {**_EVERY, "content-security-policy": "default-src 'none'; sandbox"}
"""The headers of an image of the operator. An SVG that somebody opens as a page can run nothing and load nothing."""
