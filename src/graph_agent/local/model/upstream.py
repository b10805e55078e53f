"""Chat completions passed on to any OpenAI-compatible server, such as Ollama or vLLM."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from graph_agent.errors import LocalModelFailed
from graph_agent.sse_lines import data_of_line, read_lines_async

SILENCE_SECONDS = 600.0
CONNECT_SECONDS = 5.0
DONE = "[DONE]"


class UpstreamModel:
    """Another server's model behind the interface of `LocalModel`; requests pass through but for the model's name."""

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._model = model
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Answer with the server's own chunks; closing the iterator closes the connection to it.

        Raises:
            LocalModelFailed: it cannot be reached, refused the request, or broke off.
        """
        wanted = {**body, "model": self._model, "stream": True, "stream_options": {"include_usage": True}}
        try:
            async with self._client.stream("POST", self._url, json=wanted) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise LocalModelFailed(
                        f"the model server answered {answer.status_code}: check GRAPH_AGENT_LOCAL_MODEL, "
                        "GRAPH_AGENT_LOCAL_MODEL_NAME and GRAPH_AGENT_LOCAL_API_KEY"
                    )
                async for line in read_lines_async(answer.aiter_bytes()):
                    data = data_of_line(line)
                    if data is not None and data.strip() == DONE:
                        return
                    if data:
                        yield _chunk(data)
        except httpx.ConnectError as error:
            raise LocalModelFailed("no model server answers at GRAPH_AGENT_LOCAL_MODEL: is it running?") from error
        except httpx.HTTPError as error:
            raise LocalModelFailed("the model server broke off the answer") from error
        raise LocalModelFailed("the model server broke off the answer")


def _chunk(data: str) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict) or "error" in chunk:
        raise LocalModelFailed("the model server failed while answering")
    return chunk
