"""Checks ports on this machine: whether something listens, and whether it answers."""

import http.client
import socket
import urllib.request

from graph_agent.errors import LocalWorkspaceError


def answers(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def responds(url: str, bearer_token: str | None = None) -> bool:
    """Whether a server on this machine answers a GET of `url` with status 200. Ignores the proxy of the environment."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    headers = {"authorization": f"Bearer {bearer_token}"} if bearer_token else {}
    try:
        with direct.open(urllib.request.Request(url, headers=headers), timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def require_free_port(port: int, remedy: str) -> None:
    """Check that nothing listens on the port.

    Raises:
        LocalWorkspaceError: something listens. The message contains `remedy`, which says how to choose another port.
    """
    if answers(port):
        raise LocalWorkspaceError(f"port {port} is in use; stop the process that uses it, or {remedy}")
