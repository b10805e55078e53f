"""A local model that is loaded when it is first asked, because many graphs ask none."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from graph_agent.lazy import LazyValue
from graph_agent.local.model.chunks import Chunk

if TYPE_CHECKING:
    from graph_agent.local.model.local_model import LocalModel


class OnDemandModel:
    """Answers as the model that `load` returns, which is called once, in a thread. After a failure it is called again
    with the next request."""

    def __init__(self, load: "Callable[[], LocalModel]") -> None:
        self._model = LazyValue(load)

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[Chunk, None]:
        """See `LocalModel.stream_chat`."""
        model = await asyncio.to_thread(self._model)
        async with aclosing(model.stream_chat(body)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def count_tokens(self, body: Mapping[str, Any]) -> int:
        """See `LocalModel.count_tokens`."""
        model = await asyncio.to_thread(self._model)
        return await model.count_tokens(body)
