"""MLflow's AgentServer with a simple adapter: `graph.astream` with the converters and event builders of MLflow.

Without `BENCH_AUTOLOG` it still records one AGENT span for each request, as AgentServer always does.
"""

import os
from collections.abc import AsyncGenerator
from typing import Any

import mlflow
from langchain_core.messages import AIMessageChunk
from mlflow.genai.agent_server import AgentServer, stream
from mlflow.types.responses import (
    ResponsesAgentRequest,
    ResponsesAgentStreamEvent,
    create_text_delta,
    output_to_responses_items_stream,
    to_chat_completions_input,
)

from bench.scripted import graph
from bench.servers import serve


@stream()
async def answer(request: ResponsesAgentRequest) -> AsyncGenerator[ResponsesAgentStreamEvent, None]:
    """Yield tokens as `output_text.delta`, and each returned message as `output_item.done`."""
    messages = to_chat_completions_input([item.model_dump() for item in request.input])
    run: Any = graph.astream({"messages": messages}, stream_mode=["messages", "updates"])
    async for mode, data in run:
        if mode == "messages":
            message, _ = data
            if isinstance(message, AIMessageChunk) and message.content:
                yield ResponsesAgentStreamEvent(**create_text_delta(delta=message.text, item_id=message.id or ""))
            continue
        for update in data.values():
            for event in output_to_responses_items_stream(update["messages"]):
                yield event


if __name__ == "__main__":
    if os.environ.get("BENCH_AUTOLOG"):
        mlflow.langchain.autolog()
    serve(AgentServer("ResponsesAgent").app)
