"""No retries for a server that asks clients to wait long: the client would sleep, or retry too soon."""

import httpx

from graph_agent.databricks.retry_after import NOT_IMPLEMENTED, too_long


def forbid_long_retries(response: httpx.Response) -> None:
    """Response hook that stops the client from retrying in vain, or before a long wait is over.

    Source: the header `x-should-retry`, which OpenAI's clients obey.
    """
    if response.status_code == NOT_IMPLEMENTED or (response.is_error and too_long(response.headers) is not None):
        response.headers["x-should-retry"] = "false"


async def forbid_long_retries_async(response: httpx.Response) -> None:
    """`forbid_long_retries` for an asynchronous client."""
    forbid_long_retries(response)
