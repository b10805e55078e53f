"""What MCP servers send, as LangChain tools and as texts a model can read."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.tools import BaseTool
from mcp import types
from pydantic import SkipValidation

MOST_CHARACTERS = 20_000
"""Of one result: about five thousand tokens, which many windows hold a few times. The rest is left out, and said so."""

Result = tuple[str, Any]
"""The text for the model, and the structured content as it was sent."""


class McpTool(BaseTool):
    """A tool of an MCP server. Its arguments are checked by the server, whose schema it is."""

    response_format: Any = "content_and_artifact"
    ask: SkipValidation[Callable[[dict[str, Any]], Awaitable[Result]]]

    async def _arun(self, /, **arguments: Any) -> Result:
        return await self.ask(arguments)

    def _run(self, /, **arguments: Any) -> Result:
        raise NotImplementedError("a tool of an MCP server is asynchronous: call it with `ainvoke`")


def described(tool: types.Tool) -> tuple[str, dict[str, Any]]:
    """A tool's description and schema of arguments, in the shape chat endpoints take."""
    schema = {"type": "object", "properties": {}} | tool.inputSchema
    schema.pop("$schema", None)
    return tool.description or tool.title or tool.name, schema


def read(result: types.CallToolResult) -> Result:
    """Its text, and its structured content. Pictures and files are named: a model would get their bytes as text."""
    text = "\n".join(part for part in map(_text, result.content) if part)
    if not text and result.structuredContent is not None:
        text = json.dumps(result.structuredContent, ensure_ascii=False)
    return bounded(text or "The tool gave no text."), result.structuredContent


def bounded(text: str, most: int = MOST_CHARACTERS) -> str:
    """At most so many characters, and how many were left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[{len(text) - most} more characters were left out]"


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
