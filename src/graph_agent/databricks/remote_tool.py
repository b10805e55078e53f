"""A LangChain tool that a server runs, and the limit on what it returns to a model."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import SkipValidation

MOST_CHARACTERS = 20_000
"""Of one result: about 5,000 tokens, so that many context windows hold several. The text says how much was left out."""

Result = tuple[str, Any]
"""The text for the model, and the structured content or `None`."""


class RemoteTool(BaseTool):
    """A tool that a server runs. The server also checks the arguments, as the schema is the server's."""

    response_format: Any = "content_and_artifact"
    full_name: str = ""
    """Its name on the server, if `name` had to be shortened or changed."""

    ask: SkipValidation[Callable[[dict[str, Any]], Awaitable[Result]]]

    async def _arun(self, /, **arguments: Any) -> Result:
        return await self.ask(arguments)

    def _run(self, /, **arguments: Any) -> Result:
        raise NotImplementedError("this tool is asynchronous: call it with `ainvoke`")


def shorten(text: str, most: int = MOST_CHARACTERS) -> str:
    """The first `most` characters, and a note of how many were left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[{len(text) - most} more characters were left out]"
