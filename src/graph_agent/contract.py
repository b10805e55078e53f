"""What a graph receives and may rely on: the one contract between a graph and the service.

A graph takes `{"messages": [...]}` and appends to `messages`; the last message it leaves is the answer. Everything
here is optional for a graph: one that never imports `graph_agent` is served just as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, runtime_checkable

from langgraph.graph import MessagesState

from graph_agent.identity.caller import Caller

PUBLIC_ERROR = "public_error"
"""`ToolMessage(..., status="error", additional_kwargs={PUBLIC_ERROR: True})`: the caller may read this text as well; a
text in place of `True` is what the caller reads instead. Any other failed tool is told to the caller as failed and no
more: its text may quote an exception."""

NOT_RUN = "This call was not run: "
"""What the result of a call begins with that graph-agent itself kept from running: fit for the caller to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """The run's context for graphs that declare it: `StateGraph(AgentState, context_schema=AgentContext)`."""

    caller: Caller = field(default_factory=lambda: Caller("local"))
    """The verified caller; never taken from the request's body."""

    thread: str | None = None
    """The conversation's id, where the request names one."""

    custom_inputs: Mapping[str, Any] = field(default_factory=dict)
    """The request's `custom_inputs`, as sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A retrieved passage that an answer may cite."""

    number: int
    """What the model writes in brackets to cite it, from 1."""

    doc_uri: str
    """Where the document is."""

    chunk_id: str
    """Which passage of it."""

    title: str
    """What a person sees as the link's text."""

    text: str
    """The passage."""

    score: float | None = None
    """The index's relevance score, where it gives one."""


def merge_outputs(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    """Reducer of `custom_outputs`: later keys win."""
    return {**(left or {}), **(right or {})}


def append_sources(left: list[Source] | None, right: list[Source] | None) -> list[Source]:
    """Reducer of `sources`: passages keep their order, and one that was found again is kept once."""
    known = {source.chunk_id for source in left or []}
    return (left or []) + [source for source in right or [] if source.chunk_id not in known]


class AgentState(MessagesState):
    """State of the graphs built here: the conversation, what was retrieved, and what goes back beside the answer."""

    sources: Annotated[list[Source], append_sources]
    """Passages retrieved in this run, in the order found."""

    custom_outputs: Annotated[dict[str, Any], merge_outputs]
    """Returned to the caller as `custom_outputs`."""


@dataclass(frozen=True, slots=True)
class ListedTools:
    """The tools that a source has now."""

    tools: Sequence[Any] = ()
    """LangChain tools. A planner also takes schemas of tools that another node runs."""

    warnings: Sequence[str] = ()
    """What is missing and why: one sentence each, written for the caller, without text of foreign code."""


@runtime_checkable
class ToolSource(Protocol):
    """Stands among the tools of `make_planner` and `make_tools`; `databricks.mcp.McpTools` is one."""

    async def tools(self) -> ListedTools:
        """The tools for the user of the run. Called often: answer from memory where possible.

        Raises:
            Unauthenticated: the source acts for the user, and there is no token. Anything else missing is a warning.
        """
