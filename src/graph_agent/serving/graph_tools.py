"""The graphs as tools for the callers of the MCP server: each call is a run."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from graph_agent.errors import ConversationNotFound, UnknownGraph
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken
from graph_agent.protocol.dialects import MCP
from graph_agent.protocol.events import NODE
from graph_agent.protocol.field_checks import shown
from graph_agent.protocol.mcp_tools import OfferedTool, ToolResult, result_of, tool_names
from graph_agent.redaction.known_secrets import KnownSecrets
from graph_agent.runs.event_log import Entry
from graph_agent.runs.log_context import current_log_facts
from graph_agent.runs.registry import Reader, Runs
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.serving.limits import MOST_PARSED_HERE
from graph_agent.serving.routes.not_found import NO_CONVERSATION
from graph_agent.serving.store_gate import StoreGate
from graph_agent.threads import run_giving_way

if TYPE_CHECKING:
    # They import LangChain, which takes seconds.
    from graph_agent.runs.run import Run
    from graph_agent.serving.service import Service

Progress = Callable[[str], Awaitable[None]]

TOLD = frozenset({NODE, "response.output_item.added"})
"""The events that are progress."""


class GraphTools:
    """The tools of one caller, for one message."""

    def __init__(
        self,
        *,
        runs: Runs,
        store: StoreGate,
        service: "Service",
        caller: Caller,
        token: UserToken | None,
        hidden: KnownSecrets | None,
    ) -> None:
        self._runs = runs
        self._store = store
        self._service = service
        self._caller = caller
        self._token = token
        self._hidden = hidden

    @property
    def tools(self) -> Sequence[OfferedTool]:
        """Every graph, in the order of `langgraph.json`."""
        cards = self._service.catalog.cards
        return [
            OfferedTool(name=tool, title=cards[graph].title, description=cards[graph].description)
            for tool, graph in tool_names(self._service.catalog.names).items()
        ]

    async def call(self, name: str, arguments: Mapping[str, Any], progress: Progress | None) -> ToolResult:
        """Run a graph, and return what it answers. Cancelling this cancels the run.

        Raises:
            AgentError: the call is refused, or the run failed.
        """
        tools = tool_names(self._service.catalog.names)
        if name not in tools:
            raise UnknownGraph(f"No tool named '{shown(name)}'; known: {', '.join(tools)}.", param="name")
        run = await self._started(arguments, graph=tools[name], steps=progress is not None)
        reader = self._runs.read(run, quiet_seconds=self._service.app.settings.keepalive_seconds)
        try:
            if progress is not None:
                await _tell(reader, progress)
            return result_of(await run.reply())
        finally:
            # Also if the call was cancelled: then the run is cancelled here.
            with anyio.CancelScope(shield=True):
                await reader.leave()

    async def _started(self, arguments: Mapping[str, Any], *, graph: str, steps: bool) -> "Run":
        service = self._service
        parse = partial(service.parse_tool_call, arguments, graph=graph, steps=steps)
        with ExitStack() as held:
            slot = held.enter_context(self._runs.slot())
            is_small = len(str(arguments.get("message", ""))) <= MOST_PARSED_HERE and "custom_inputs" not in arguments
            invocation = parse() if is_small else await run_giving_way(parse)
            asked = RunRequest(invocation=invocation, dialect=MCP, owner=self._caller, accepted_at=time.time())
            scope = Scope(app=service.app, token=self._token, hidden=self._hidden, facts=current_log_facts())
            try:
                return await self._runs.start(
                    asked,
                    scope,
                    graphs=service.catalog,
                    observers=service.observers(),
                    slot=slot,
                    store=await self._store.passed(),
                )
            except ConversationNotFound:
                raise ConversationNotFound(NO_CONVERSATION, param="conversation_id") from None


async def _tell(reader: Reader, progress: Progress) -> None:
    """Tell which nodes begin and which tools are called, until the run ends."""
    async for batch in reader:
        for entry in batch:
            if entry.type in TOLD and (said := _progress(entry)) is not None:
                await progress(said)


def _progress(entry: Entry) -> str | None:
    event = entry.event
    if event["type"] == NODE:
        node = event["node"]
        return "/".join(node["path"]) if node["status"] == "in_progress" else None
    return f"calls {event['item']['name']}" if event["item"]["type"] == "mcp_call" else None
