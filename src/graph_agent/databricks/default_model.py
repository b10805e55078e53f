"""The chat model of graphs that name none, and what else depends on whether the workspace is on this machine."""

from urllib.parse import urlsplit

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.trusted_hosts import is_loopback

LOCAL_MODEL = "databricks:local-model"
"""The model of the local workspace."""

LOCAL_EMBEDDINGS = "databricks:local-minilm"
"""The embedding endpoint of the local workspace."""

UNSET = (
    "GRAPH_AGENT_MODEL is not set: set it to a chat endpoint, such as databricks:my-endpoint; "
    "`graph-agent doctor` lists the endpoints of the workspace"
)


def default_model(app: AppContext) -> str:
    """`GRAPH_AGENT_MODEL`, or in the local workspace its model.

    A Databricks workspace has no default: its owner chooses the endpoint, and Databricks retires models over time.

    Raises:
        BadSetting: it is not set, and the workspace is not on this machine.
    """
    if app.settings.model is not None:
        return app.settings.model
    if app.environ.get("DATABRICKS_HOST") and not is_local(app):
        raise BadSetting(UNSET, param="GRAPH_AGENT_MODEL")
    return LOCAL_MODEL


def is_local(app: AppContext) -> bool:
    """Whether the app's workspace is on this machine. Without a host, it is not known."""
    # The SDK accepts a host without a scheme too.
    host = app.environ.get("DATABRICKS_HOST", "")
    return bool(host) and is_loopback(urlsplit(host if "//" in host else f"//{host}").hostname or "")
