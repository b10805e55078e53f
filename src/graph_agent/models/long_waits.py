"""A model's server that asks to be left alone for long is left alone: the client would sleep, or ask again too soon."""

import httpx

from graph_agent.databricks.retry_after import NOT_IMPLEMENTED, too_long


def forbid_long_retries(response: httpx.Response) -> None:
    """Tell the client not to repeat a request in vain, or before a long wait is over; for its hooks.

    Source: `x-should-retry`, which OpenAI's clients obey.
    """
    if response.status_code == NOT_IMPLEMENTED or (response.is_error and too_long(response.headers) is not None):
        response.headers["x-should-retry"] = "false"


async def forbid_long_retries_async(response: httpx.Response) -> None:
    """The same for an asynchronous client."""
    forbid_long_retries(response)
