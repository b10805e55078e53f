"""The shared Databricks client: one per process, its credentials from the environment the platform sets."""

from functools import cache
from typing import TYPE_CHECKING

from graph_agent.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

RETRY_SECONDS = 20
"""Bound on the SDK's own retries; its default of 300 s would block a start on a dead host for minutes."""


@cache
def settings() -> Settings:
    """The settings graph code sees, in the service and in LangGraph Studio alike; read once, on first use."""
    return Settings.from_environment()


@cache
def workspace_client() -> "WorkspaceClient":
    """The process's client. Its construction asks the workspace for its configuration: call it off the event loop."""
    # Late: the SDK takes two seconds to import, and a graph file must import nothing heavy.
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

    config = Config(http_timeout_seconds=settings().request_seconds, retry_timeout_seconds=RETRY_SECONDS)
    return WorkspaceClient(config=config)
