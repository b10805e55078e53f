"""The whole response of a run, for a client that waits for its end."""

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.types import Receive

from graph_agent.runs.registry import Reader
from graph_agent.serving.sse import disconnected
from graph_agent.serving.trace_reply import TraceReply

if TYPE_CHECKING:
    from graph_agent.runs.run import Run


async def whole_reply(run: "Run", reader: Reader, receive: Receive, trace_reply: TraceReply) -> dict[str, Any] | None:
    """The response object of a run that has ended, with its trace if the caller asked for one.

    `None`: the client has left. The run ends with its reader, as nobody else can read it.

    Raises:
        AgentError: the run failed.
    """
    answer = asyncio.ensure_future(run.reply())
    leaver = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait([answer, leaver], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            return None
        response = answer.result()
        await trace_reply.add_to(response)
        return response
    finally:
        answer.cancel()
        leaver.cancel()
        await reader.leave()
