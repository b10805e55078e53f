"""The part of an answer about the run's trace: its id, the whole trace, or nothing, as the caller asked."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from graph_agent.threads import run_in_service_thread

if TYPE_CHECKING:
    # Both import LangGraph, which takes seconds, and the port must answer before that.
    from graph_agent.runs.run import Run
    from graph_agent.tracing import RunTrace

HEADER = "x-mlflow-return-trace-id"
"""MLflow's header that asks for the id."""

SETTLING_SECONDS = 5.0
"""How long a run may take to end after its answer. Then the answer goes out without the trace."""


class TraceReply:
    """The trace of one run, and what its caller asked for."""

    def __init__(self, trace: "RunTrace | None", run: "Run", *, the_id: bool, all_of_it: bool) -> None:
        self._trace = trace
        self._run = run
        self._the_id = the_id
        self._all_of_it = all_of_it

    @classmethod
    def asked(cls, trace: "RunTrace | None", run: "Run", *, headers: Headers) -> "TraceReply":
        """What MLflow's header and the request's `databricks_options` ask for."""
        the_id = headers.get(HEADER, "").lower() == "true"
        request = run.request
        # `databricks_options` is an extension of Databricks, which the OpenAI dialect does not have.
        all_of_it = request.invocation.return_trace and not request.dialect.open_responses
        return cls(trace, run, the_id=the_id, all_of_it=all_of_it)

    async def frames(self) -> list[Mapping[str, Any]]:
        """The frames that a stream sends after its last event."""
        ids: list[Mapping[str, Any]] = [{"trace_id": one} for one in self._ids()]
        return ids + [{"databricks_output": {"trace": one}} for one in await self._traces()]

    async def add_to(self, response: dict[str, Any]) -> None:
        """Put the same into a whole response."""
        for one in self._ids():
            response["metadata"] = {**response["metadata"], "trace_id": one}
        for trace in await self._traces():
            response["databricks_output"] = {"trace": trace}

    def _ids(self) -> Iterator[str]:
        if self._the_id and self._trace is not None and (trace_id := self._trace.trace_id) is not None:
            yield trace_id

    async def _traces(self) -> list[Mapping[str, Any]]:
        if not self._all_of_it or self._trace is None:
            return []
        # The answer is complete before the graph has stopped, and a trace is whole only after that.
        try:
            async with asyncio.timeout(SETTLING_SECONDS):
                await self._run.ended()
        except TimeoutError:
            return []
        trace = await run_in_service_thread(self._trace.whole)
        return [] if trace is None else [trace]
