"""Reads the request for a run that is begun at once, and takes the slot of that run."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request

from graph_agent.runs.registry import Runs
from graph_agent.runs.slots import Slot
from graph_agent.serving.body_parsing import parse_body
from graph_agent.serving.gate import Gate
from graph_agent.serving.limits import MOST_PARSED_HERE, Bodies

if TYPE_CHECKING:
    from graph_agent.serving.service import Service

T = TypeVar("T")


@asynccontextmanager
async def read_in_slot(
    request: Request, *, bodies: Bodies, gate: Gate, runs: Runs, parse: "Callable[[Service], Callable[..., T]]"
) -> "AsyncIterator[tuple[Service, T, Slot]]":
    """Yield the service, what the body asks, and a slot, which is free again after the block unless a run has it.

    `parse` makes the function that parses the body: it takes the bytes, and `pulse` if it runs in another thread.

    Raises:
        AgentError: the request is refused, or no slot is free.
    """
    if not bodies.is_small(request):
        # Before a large body is read. The slot itself is taken after that, so that a slow sender does not occupy one.
        runs.require_free_slot()
    async with bodies.read(request) as body:
        service = await gate.passed()
        await service.catalog.refresh()
        parsed = partial(parse(service), body)
        # A small body is parsed without a slot: a malformed request gets its error, and not 429.
        read = parsed() if len(body) <= MOST_PARSED_HERE else None
        with runs.slot() as slot:
            yield service, await parse_body(parsed, request.receive) if read is None else read, slot
