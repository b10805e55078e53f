"""A LangChain tool whose work is done elsewhere, and the bound on what it may tell a model."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import SkipValidation

MOST_CHARACTERS = 20_000
"""Of one result: about five thousand tokens, which many windows hold a few times. The rest is left out, and said so."""

Result = tuple[str, Any]
"""The text for the model, and beside it the structured content, or nothing."""


class RemoteTool(BaseTool):
    """A tool of a server. Its arguments are checked there, as the schema is the server's."""

    response_format: Any = "content_and_artifact"
    full_name: str = ""
    """What its server calls it, where `name` had to be cut or respelled."""

    ask: SkipValidation[Callable[[dict[str, Any]], Awaitable[Result]]]

    async def _arun(self, /, **arguments: Any) -> Result:
        return await self.ask(arguments)

    def _run(self, /, **arguments: Any) -> Result:
        raise NotImplementedError("this tool is asynchronous: call it with `ainvoke`")


def shorten(text: str, most: int = MOST_CHARACTERS) -> str:
    """At most so many characters, and how many were left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[{len(text) - most} more characters were left out]"
