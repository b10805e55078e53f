"""What one caller may ask of the service: so many bytes, so many runs at once."""

from starlette.requests import ClientDisconnect, Request

from graph_agent.errors import BodyTooLarge, InvalidRequest, RunCancelled, TooManyRuns

RETRY_AFTER_SECONDS = 2


async def read_body(request: Request, *, most: int) -> bytes:
    """The request's body, at most `most` bytes of it ever held.

    Raises:
        BodyTooLarge: by its `Content-Length`, or once that many bytes have come.
        InvalidRequest: `Content-Length` is not a number.
        RunCancelled: the caller left while sending.
    """
    declared = request.headers.get("content-length")
    if declared is not None and not declared.isdecimal():
        raise InvalidRequest("Content-Length is not a number")
    too_large = BodyTooLarge(f"the body is larger than {most} bytes; send less, or raise GRAPH_AGENT_MAX_BODY_BYTES")
    if declared is not None and int(declared) > most:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
    except ClientDisconnect:
        raise RunCancelled("the caller left while sending") from None
    return bytes(body)


class RunSlots:
    """Counts runs under way; a plain number, as all runs of a process share one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def take(self) -> None:
        """Take a slot; give it back with `free()`.

        Raises:
            TooManyRuns: all are taken.
        """
        if self.taken >= self._most:
            raise TooManyRuns(f"{self._most} runs are under way; try again shortly", retry_after=RETRY_AFTER_SECONDS)
        self.taken += 1

    def free(self) -> None:
        """Give a slot back."""
        self.taken -= 1
