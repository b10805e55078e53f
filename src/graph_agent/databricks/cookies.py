"""Shared clients keep no cookies: the next request over them may be another user's, and would carry them."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def reject_cookies(jar: CookieJar) -> None:
    """Let nothing into that jar from now on."""
    jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
