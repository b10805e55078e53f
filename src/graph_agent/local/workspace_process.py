"""Runs the local workspace as a child process, beside the service or LangGraph Studio."""

import os
import secrets
import sys
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from graph_agent.errors import LocalWorkspaceError
from graph_agent.local.packages import demand_packages
from graph_agent.local.ports import answers, require_free_port
from graph_agent.processes.child import ChildProcess
from graph_agent.settings import PREFIX, Settings, as_environment

START_SECONDS = 3600
"""Time limit for a start. The first one downloads a gigabyte, and shows its progress meanwhile."""

STOP_SECONDS = 5.0

LOCAL_LIMITS: Mapping[str, float] = {
    "silence_seconds": 600.0,
    "request_seconds": 600.0,
    "model_seconds": 600.0,
    "max_seconds": 900.0,
}
"""Time limits for a model on this machine. Beside other work, it once took four minutes to read a prompt."""


class LocalWorkspace:
    """`graph-agent workspace` as a child process. It ends when its parent ends, also if the parent is killed."""

    def __init__(self, settings: Settings, *, on_demand: bool = False) -> None:
        """With `on_demand`, the model is loaded when it is first asked, and `wait` does not wait for it."""
        self._settings = settings
        self._on_demand = on_demand
        self._client_id = secrets.token_hex(16)
        self._secret = secrets.token_urlsafe(32)
        self._child: ChildProcess | None = None

    def __enter__(self) -> "LocalWorkspace":
        demand_packages()
        require_free_port(self._settings.workspace_port, "set GRAPH_AGENT_WORKSPACE_PORT")
        environment = dict(os.environ) | as_environment(self._settings)
        self.enter(environment)
        command = [sys.executable, "-m", "graph_agent.processes.end_with_parent", "0", "graph_agent", "workspace"]
        self._child = ChildProcess([*command, *(["--on-demand"] if self._on_demand else [])], environ=environment)
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.stop(STOP_SECONDS)

    def enter(self, environment: MutableMapping[str, str]) -> None:
        """Change `environment` so that every Databricks client uses this workspace and no other."""
        for name in [name for name in environment if name.startswith("DATABRICKS_")]:
            del environment[name]
        environment.update(
            DATABRICKS_HOST=f"http://127.0.0.1:{self._settings.workspace_port}",
            # A service principal and no token, as on Databricks Apps.
            DATABRICKS_CLIENT_ID=self._client_id,
            DATABRICKS_CLIENT_SECRET=self._secret,
            # Otherwise the SDK would also read profiles from `~/.databrickscfg`.
            DATABRICKS_CONFIG_FILE=os.devnull,
        )

    def wait(self) -> None:
        """Wait until the workspace answers.

        Raises:
            LocalWorkspaceError: it ended and printed the reason, or did not answer within `START_SECONDS`.
        """
        assert self._child is not None
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            if self._child.poll() is not None:
                raise LocalWorkspaceError("the local workspace did not start; the reason is above")
            if answers(self._settings.workspace_port):
                return
            time.sleep(0.1)
        raise LocalWorkspaceError("the local workspace did not start in an hour; try a smaller model")


def with_local_limits(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Settings with longer time limits for a model on a small machine. Limits set in the environment stay."""
    longer: dict[str, Any] = {
        name: seconds for name, seconds in LOCAL_LIMITS.items() if f"{PREFIX}{name.upper()}" not in environ
    }
    return replace(settings, **longer)
