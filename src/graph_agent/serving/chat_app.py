"""Where Databricks' chat app listens on this machine, and which paths go to it.

The variables are those of MLflow's AgentServer, with its defaults and its rules.
Source: https://mlflow.org/docs/latest/genai/serving/agent-server
"""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from graph_agent.errors import BadSetting
from graph_agent.settings import MOST_SECONDS

PORT, SECONDS = "CHAT_APP_PORT", "CHAT_PROXY_TIMEOUT_SECONDS"
EXACT_PATHS, PATH_PREFIXES = "CHAT_PROXY_ALLOWED_EXACT_PATHS", "CHAT_PROXY_ALLOWED_PATH_PREFIXES"

DEFAULT_SECONDS = 300.0
DEFAULT_EXACT_PATHS = frozenset({"/", "/favicon.ico", "/ping"})
DEFAULT_PATH_PREFIXES = frozenset({"/assets/", "/api/", "/chat/"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatApp:
    """A chat app that listens on loopback."""

    port: int
    seconds: float = DEFAULT_SECONDS
    """How long it may take to accept a request, and may stay silent before and in its answer."""

    exact_paths: frozenset[str] = DEFAULT_EXACT_PATHS
    path_prefixes: frozenset[str] = DEFAULT_PATH_PREFIXES

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """The chat app that the variables describe, or `None` if they name no port.

        Raises:
            BadSetting: a variable has an invalid value.
        """
        if not environ.get(PORT):
            return None
        port = environ[PORT].strip()
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
            raise BadSetting(f"{PORT} must be a port number from 1 to 65535", param=PORT)
        return cls(
            port=int(port),
            seconds=_seconds(environ),
            exact_paths=DEFAULT_EXACT_PATHS | _paths(environ, EXACT_PATHS),
            path_prefixes=DEFAULT_PATH_PREFIXES | _paths(environ, PATH_PREFIXES),
        )

    def path_of(self, path: str) -> str | None:
        """The path under which the chat app gets a request for `path`, or `None` if it does not get it.

        `path` is decoded. `.` and `..` are resolved first, so that what is checked is what is sent.
        """
        normal = posixpath.normpath(path)
        if normal in self.exact_paths or normal.startswith(tuple(self.path_prefixes)):
            return normal
        return None


def _seconds(environ: Mapping[str, str]) -> float:
    if not environ.get(SECONDS):
        return DEFAULT_SECONDS
    message = f"{SECONDS} must be a number above 0 and at most {MOST_SECONDS} (a day)"
    try:
        seconds = float(environ[SECONDS])
    except ValueError:
        # The message never quotes the value: a secret may have ended up in the wrong variable.
        raise BadSetting(message, param=SECONDS) from None
    if not 0 < seconds <= MOST_SECONDS:
        raise BadSetting(message, param=SECONDS)
    return seconds


def _paths(environ: Mapping[str, str], name: str) -> frozenset[str]:
    paths = frozenset(path.strip() for path in environ.get(name, "").split(",") if path.strip())
    if not all(path.startswith("/") for path in paths):
        raise BadSetting(f"{name} must be paths that begin with /, separated by commas", param=name)
    return paths
