"""The JSON bodies of requests that start no run, under the same limits as those of runs."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from graph_agent.errors import NotJson
from graph_agent.runs.registry import Runs
from graph_agent.serving.body_parsing import parse_body
from graph_agent.serving.limits import MOST_PARSED_HERE, Bodies
from graph_agent.trusted_hosts import NOT_JSON, is_json

T = TypeVar("T")


class PostedJson:
    """Reads and parses bodies. A large one takes a slot of the runs while a thread parses it."""

    def __init__(self, *, bodies: Bodies, runs: Runs, pages_may_ask: bool) -> None:
        self._bodies = bodies
        self._runs = runs
        self._pages_may_ask = pages_may_ask

    def check_declared(self, request: Request) -> None:
        """Check that the body is declared as JSON, where no token is required.

        Raises:
            NotJson: it is not.
        """
        # A page of another site can send a body without this header, but not with it, unless CORS allows it.
        if not self._pages_may_ask and not is_json(request.headers.raw):
            raise NotJson(NOT_JSON)

    async def parsed(self, request: Request, parse: Callable[..., T]) -> T:
        """The result of `parse(body, pulse=…)`.

        Raises:
            AgentError: the body is refused.
        """
        self.check_declared(request)
        if not self._bodies.is_small(request):
            self._runs.require_free_slot()
        async with self._bodies.read(request) as body:
            if len(body) <= MOST_PARSED_HERE:
                return parse(body)
            with self._runs.slot():
                return await parse_body(partial(parse, body), request.receive)
