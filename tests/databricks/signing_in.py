"""Beginning anew with another environment."""

from graph_agent.databricks import clients


def forget_clients() -> None:
    """Begin anew with the environment as it is now."""
    clients.settings.cache_clear()
    clients.workspace_client.cache_clear()
    clients.get_user_workspace_client.cache_clear()
