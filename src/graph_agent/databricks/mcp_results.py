"""Results of MCP tools as text that a model can read."""

import json

from langchain_core.tools import ToolException
from mcp import types

from graph_agent.databricks.remote_tool import Result, shorten


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
