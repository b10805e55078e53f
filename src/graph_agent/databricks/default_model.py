"""Which chat model answers where a graph names none."""

from urllib.parse import urlsplit

from graph_agent.app_context import AppContext
from graph_agent.errors import BadSetting
from graph_agent.trusted_hosts import is_loopback

LOCAL_MODEL = "databricks:local-model"
"""The model of the local workspace."""

UNSET = (
    "GRAPH_AGENT_MODEL is not set: set it to the chat endpoint that answers, such as databricks:my-endpoint; "
    "`graph-agent doctor` lists those of the workspace"
)


def default_model(app: AppContext) -> str:
    """`GRAPH_AGENT_MODEL`; in the local workspace its own model. A workspace of Databricks has no default: which of its
    endpoints answers is for its owner to say, and the models that Databricks offers retire.

    Raises:
        BadSetting: it is not set, and the workspace is not on this machine.
    """
    if app.settings.model is not None:
        return app.settings.model
    host = app.environ.get("DATABRICKS_HOST", "")
    if host and not is_loopback(urlsplit(host if "//" in host else f"//{host}").hostname or ""):
        raise BadSetting(UNSET, param="GRAPH_AGENT_MODEL")
    return LOCAL_MODEL
