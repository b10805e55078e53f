"""Why an MCP server gave no answer, in words that say what to change and quote no text of the server."""

from collections.abc import Mapping

from graph_agent.databricks.clients import actor
from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.mcp_servers import McpServer
from graph_agent.databricks.retry_after import duration_text


def explain_failure(failure: ExchangeFailed, server: McpServer) -> str:
    """Why there was no answer and what to change, without any text from the server."""
    acts = server.acting_as if server.acting_as == "nobody" else actor(server.acting_as)
    match failure.reason, failure.status:
        case "refused", 401 if acts == "nobody":
            return "it requires credentials (401); give it `headers`, or set `acting_as`"
        case "refused", 401 if acts == "user":
            return f"it did not accept the user's token (401); it may have expired{_or_scope(server)}"
        case "refused", 401:
            return "it did not accept the app's credentials (401)"
        case "refused", 403 if acts == "user":
            return f"the user may not use it (403); they need {server.permission}{_and_scope(server)}"
        case "refused", 403:
            return f"the app may not use it (403); its service principal needs {server.permission}"
        case "refused", 404:
            return "there is no such server (404)"
        case "refused", 429:
            return f"it is rate limited (429){_wait(failure)}"
        case "refused", int(status):
            return f"it failed ({status}){_wait(failure)}" if status >= 500 else f"it refused ({status})"
        case reason, _:
            return REASONS.get(reason, "its answer is not MCP")


REASONS: Mapping[str, str] = {
    "forgotten": "it lost the session twice",
    "unreachable": "it cannot be reached",
    "slow": "it did not answer in time",
    "cut": "it ended its answer early",
    "garbled": "its answer contains a lone surrogate, which is not valid text",
    "large": "its answer is too large",
    "version": "it refused to open a session (400), as a server does that speaks only versions of MCP from 2026 on; "
    "this service speaks those up to 2025-11-25",
    "credentials": "its credentials could not be obtained",
}


def _wait(failure: ExchangeFailed) -> str:
    return "" if failure.wait is None else f"; it asks clients to wait {duration_text(failure.wait)}"


def _and_scope(server: McpServer) -> str:
    return f", and the app the user scope {' or '.join(server.scopes)}" if server.scopes else ""


def _or_scope(server: McpServer) -> str:
    return f", or the app lacks the user scope {' or '.join(server.scopes)}" if server.scopes else ""
