"""A chat endpoint through `ChatDatabricks`, for the parameters that `serving_endpoint` does not have.

Imports databricks-langchain, which takes seconds: import this module where a model is created.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from databricks_langchain import ChatDatabricks
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from graph_agent.models.endpoint_answers import EndpointAnswers


class LibraryEndpoint(EndpointAnswers, ChatDatabricks):  # type: ignore[misc]
    """`ChatDatabricks` with its chat completions read by this package.

    Responses endpoints (`use_responses_api`) keep the library's conversion, which does not change their lists of
    content.
    """

    _streams: bool = PrivateAttr(default=True)
    _has_resources: bool = PrivateAttr(default=False)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        """One answer, piece by piece. Raises the same as `EndpointAnswers._astream`, or what the library raises."""
        kind: Any = ChatDatabricks if self.use_responses_api else EndpointAnswers
        async with aclosing(kind._astream(self, messages, stop, **kwargs)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """One complete answer. Raises the same as `_astream`."""
        kind: Any = ChatDatabricks if self.use_responses_api else EndpointAnswers
        result: ChatResult = await kind._agenerate(self, messages, stop, **kwargs)
        return result

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        """One complete answer, in the calling thread. Raises the same as `_astream`."""
        kind: Any = ChatDatabricks if self.use_responses_api else EndpointAnswers
        result: ChatResult = kind._generate(self, messages, stop, **kwargs)
        return result
