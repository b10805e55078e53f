"""Results of MCP tools as text that a model can read."""

import json
import logging
from collections.abc import Awaitable, Callable

from langchain_core.tools import ToolException
from mcp import McpError, types

from graph_agent.databricks.mcp_failure import ExchangeFailed
from graph_agent.databricks.remote_tool import Result, shorten
from graph_agent.errors import ToolFailed

logger = logging.getLogger(__name__)


async def result_of(
    answer: Awaitable[types.CallToolResult], *, name: str, logged_as: str, why: Callable[[ExchangeFailed], str]
) -> Result:
    """The result of a call: see `read_result`. The server is `name` for users, and `logged_as` in the log.

    `why` says why there was no answer and what to change, without any text of the server.

    Raises:
        ToolFailed: there was no answer. The message is ours.
        ToolException: the tool or its server reported an error. The message is theirs, for the model only.
    """
    try:
        return read_result(await answer)
    except ExchangeFailed as failure:
        reason = why(failure)
        logger.warning("a call of a tool of MCP server %s failed: %s", logged_as, reason)
        raise ToolFailed(f"{name} gave no answer: {reason}") from None
    except McpError as error:
        raise ToolException(shorten(error.error.message, 500)) from None


def read_result(result: types.CallToolResult) -> Result:
    """The text of a result, and its structured content.

    Images and files are only named, as a model would get their bytes as text.

    Raises:
        ToolException: the result is an error. The message is the server's, for the model only.
    """
    text = "\n".join(part for part in map(_text, result.content) if part)
    # Servers should repeat structured content as text; some do not.
    if not text and result.structuredContent is not None:
        text = json.dumps(result.structuredContent, ensure_ascii=False)
    text = shorten(text or "The tool gave no text.")
    if result.isError:
        raise ToolException(text)
    return text, result.structuredContent


def _text(part: types.ContentBlock) -> str:
    match part:
        case types.TextContent():
            return part.text
        case types.EmbeddedResource(resource=types.TextResourceContents() as inner):
            return inner.text
        case types.EmbeddedResource():
            return f"[file {part.resource.uri}]"
        case types.ResourceLink():
            return f"[file {part.uri}]"
        case _:
            return f"[{part.type}, {part.mimeType}]"
