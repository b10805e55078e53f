"""The contract between a graph and the service: what a graph receives and may rely on.

A graph takes `{"messages": [...]}` and appends to `messages`. The last message is the answer. Everything in this module
is optional: a graph that never imports `graph_agent` is served too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, runtime_checkable

from langchain_core.messages import AnyMessage
from typing_extensions import TypedDict

from graph_agent.answer_form import AnswerForm
from graph_agent.identity.caller import Caller
from graph_agent.message_channel import SNAPSHOT_FREQUENCY, MessagesChannel, merge_messages

PUBLIC_ERROR = "public_error"
"""`ToolMessage(..., status="error", additional_kwargs={PUBLIC_ERROR: True})` lets the caller read the text of an error.
A text in place of `True` is shown to the caller instead. Of any other failed tool, the caller learns only that it
failed: the text may quote an exception."""

NOT_RUN = "This call was not run: "
"""The beginning of the result of a call that graph-agent refused to run. The caller may read such a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentContext:
    """The context of the run, for graphs that declare it: `StateGraph(AgentState, context_schema=AgentContext)`."""

    caller: Caller = field(default_factory=lambda: Caller("local"))
    """The verified caller. It never comes from the request's body."""

    thread: str | None = None
    """The id of the conversation, if the request has one."""

    custom_inputs: Mapping[str, Any] = field(default_factory=dict)
    """The request's `custom_inputs`, as sent."""

    tools: Sequence[Mapping[str, Any]] = ()
    """The tools of the client, in the form that `bind_tools` takes. The client runs them: a call of one ends the turn.
    `make_planner` and `ClientToolsMiddleware` bind them by themselves."""

    tool_choice: str = "auto"
    """How the model may choose in its first step: `auto`, `none`, `required`, or the name of a tool of the client."""

    answer_form: AnswerForm | None = None
    """The form that the answer must have: JSON, maybe with a schema. `make_planner` and `ClientToolsMiddleware` see to
    it by themselves."""

    parallel_tool_calls: bool = True
    """Whether the client takes several calls of its tools in one turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A retrieved passage that an answer may cite."""

    number: int
    """The number that the model writes in brackets to cite it, from 1."""

    doc_uri: str
    """The address of the document."""

    chunk_id: str
    """The id of the passage in the document."""

    title: str
    """The text of the link that people see."""

    text: str
    """The passage."""

    score: float | None = None
    """The relevance score, if the index gives one."""

    also_in: Sequence[str] = ()
    """The addresses of other documents that hold a copy of the passage."""

    def __post_init__(self) -> None:
        """Take the list that a checkpoint made of the addresses."""
        object.__setattr__(self, "also_in", tuple(self.also_in))


def merge_outputs(left: dict[str, Any] | None, right: dict[str, Any] | None) -> dict[str, Any]:
    """Reducer of `custom_outputs`: later keys win."""
    return {**(left or {}), **(right or {})}


def append_sources(left: list[Source] | None, right: list[Source] | None) -> list[Source]:
    """Reducer of `sources`: passages keep their order, and a passage that was found twice is kept once."""
    known = {source.chunk_id for source in left or []}
    return (left or []) + [source for source in right or [] if source.chunk_id not in known]


class AgentState(TypedDict):
    """The state of the graphs of this package: the conversation, the retrieved passages, and the custom outputs."""

    messages: Annotated[list[AnyMessage], MessagesChannel(merge_messages, snapshot_frequency=SNAPSHOT_FREQUENCY)]
    """The conversation. Nodes write to it as to that of `MessagesState`. Checkpoints hold only what is new."""

    sources: Annotated[list[Source], append_sources]
    """The passages retrieved in this run, in the order in which they were found."""

    custom_outputs: Annotated[dict[str, Any], merge_outputs]
    """Returned to the caller as `custom_outputs`."""


class NodeState(TypedDict):
    """What the nodes of this package read: an `AgentState`, or another state with `messages`.

    LangGraph refuses a node that declares another reducer of `messages` than its graph, such as one with `AgentState`
    in a graph with `MessagesState`. So none is declared here.
    """

    messages: list[AnyMessage]
    sources: Annotated[list[Source], append_sources]
    custom_outputs: Annotated[dict[str, Any], merge_outputs]


@dataclass(frozen=True, slots=True)
class ListedTools:
    """The tools that a source offers now."""

    tools: Sequence[Any] = ()
    """LangChain tools. A planner also accepts the schemas of tools that another node runs."""

    warnings: Sequence[str] = ()
    """What is missing and why: one sentence each, for the caller, without text from third-party code."""


@runtime_checkable
class ToolSource(Protocol):
    """A source of tools, for the `tools` of `make_planner` and `make_tools`. `McpTools` is one."""

    async def tools(self) -> ListedTools:
        """The tools for the user of the run. It is called often, so answer from memory if possible.

        Raises:
            Unauthenticated: the source acts for the user and there is no token. Report other problems as warnings.
        """
