"""Ports of this machine: whether something listens there, and whether it answers."""

import http.client
import socket
import urllib.request

from graph_agent.errors import LocalWorkspaceError


def answers(port: int) -> bool:
    """Whether something listens on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def responds(url: str) -> bool:
    """Whether a server of this machine answers a GET of `url` with success; asked without the environment's proxy."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def require_free_port(port: int, remedy: str) -> None:
    """See that nothing listens there yet.

    Raises:
        LocalWorkspaceError: something does; `remedy` is how to choose another port.
    """
    if answers(port):
        raise LocalWorkspaceError(f"port {port} is taken; stop what uses it, or {remedy}")
