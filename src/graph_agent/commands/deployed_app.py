"""A deployed app that a command asks: its address, and the headers that sign a request in."""

from collections.abc import Callable, Mapping

from graph_agent.errors import AgentError, NotReady


def find(name: str) -> tuple[str, Callable[[], Mapping[str, str]]]:
    """The base URL of the app, and a function that returns the headers for a request. It renews the token when needed.

    Raises:
        NotReady: nobody could sign in to the workspace, or there is no such app. The function raises it too.
        Unauthenticated: the credentials are a personal access token.
    """
    # Late: the SDK takes a second to import.
    from graph_agent.databricks.apps import app_url, oauth_headers
    from graph_agent.databricks.clients import workspace_client

    def headers() -> Mapping[str, str]:
        try:
            return oauth_headers(workspace_client())
        except AgentError:
            raise
        except Exception as error:
            # The SDK raises many kinds of errors while it signs in. Their messages quote the configuration it found.
            raise NotReady(
                f"could not sign in to the workspace ({type(error).__name__}); set DATABRICKS_HOST and run"
                " `databricks auth login`, or set DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
            ) from error

    headers()
    return app_url(workspace_client(), name), headers
