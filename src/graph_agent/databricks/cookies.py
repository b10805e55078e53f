"""Shared clients keep no cookies: the next request may belong to another user and would send them."""

from http.cookiejar import CookieJar, DefaultCookiePolicy


def reject_cookies(jar: CookieJar) -> None:
    """Make the jar refuse all cookies from now on."""
    jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
