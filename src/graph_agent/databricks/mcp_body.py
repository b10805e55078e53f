"""The body of an HTTP response, read within a deadline and up to a size."""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from graph_agent.databricks.deadline import Deadline
from graph_agent.databricks.mcp_failure import ExchangeFailed

MOST_BYTES = 4_194_304
"""Largest answer. A model can read about a hundredth of it; the rest would only fill memory."""


async def read_pieces(response: httpx.Response, deadline: Deadline) -> AsyncGenerator[bytes, None]:
    """The pieces of a body. Closes the response at the end.

    Raises:
        ExchangeFailed: the deadline passed, the connection broke, or the body exceeds `MOST_BYTES`.
    """
    size, pieces = 0, response.aiter_bytes()
    try:
        while True:
            # The deadline covers each read, not the `yield`: the time between reads belongs to the consumer.
            async with deadline.kept():
                piece = await anext(pieces, None)
            if piece is None:
                return
            size += len(piece)
            if size > MOST_BYTES:
                raise ExchangeFailed("large")
            yield piece
    except (TimeoutError, httpx.TimeoutException) as error:
        raise ExchangeFailed("slow") from error
    except httpx.HTTPError as error:
        raise ExchangeFailed("cut") from error
    finally:
        await response.aclose()


async def pause(seconds: float, deadline: Deadline) -> None:
    """Sleep.

    Raises:
        ExchangeFailed: the deadline passed first.
    """
    try:
        async with deadline.kept():
            await asyncio.sleep(seconds)
    except TimeoutError as error:
        raise ExchangeFailed("slow") from error


def media_type(response: httpx.Response) -> str:
    """The media type of a response in lower case, without its parameters."""
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()
