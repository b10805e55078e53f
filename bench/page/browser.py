"""The browser of the machine."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
"""Commands of browsers that Playwright can drive. `BROWSER_PATH` names another one."""


def browser_path() -> str:
    """The browser that the benchmark drives.

    Raises:
        FileNotFoundError: there is none; the message says what to install.
    """
    named = os.environ.get("BROWSER_PATH")
    found = next(filter(None, map(shutil.which, [named] if named else NAMES)), None)
    if found is None:
        raise FileNotFoundError("install Chromium (on Debian: apt install chromium), or set BROWSER_PATH to a browser")
    return found
