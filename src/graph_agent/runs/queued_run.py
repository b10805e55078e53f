"""What a store keeps of a run that any process may run."""

from typing import TYPE_CHECKING

from graph_agent.protocol.events import ResponseHead
from graph_agent.protocol.json_encoding import encode
from graph_agent.protocol.translator import Translator
from graph_agent.runs.request import RunRequest
from graph_agent.runs.stored_requests import dump_request
from graph_agent.stores.run_records import NewRun

if TYPE_CHECKING:
    from graph_agent.stores.schedule_records import Tick


async def queued_run(
    request: RunRequest,
    head: ResponseHead,
    *,
    process: str,
    needs_token: bool,
    seconds: float,
    most_queued: int | None = None,
    tick: "Tick | None" = None,
) -> NewRun:
    """The run with its request, and with the events with which its log begins."""
    events = Translator(dialect=request.dialect, head=head).queued()
    return NewRun(
        background=True,
        process=process,
        request=await dump_request(request, head),
        digest=request.digest,
        key=request.key,
        needs_token=needs_token,
        seconds=seconds,
        most_queued=most_queued,
        events=tuple(encode({**event, "sequence_number": number}) for number, event in enumerate(events)),
        webhook=request.invocation.webhook,
        tick=tick,
    )
