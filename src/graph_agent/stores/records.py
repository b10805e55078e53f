"""What a store keeps of a response and of a conversation.

A conversation is a tree of responses. Each response has a parent, the response that it follows, and remembers the
checkpoint at which its run ended. A run that follows an earlier response starts a new branch there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from graph_agent.protocol.fingerprints import Fingerprints as Fingerprints
from graph_agent.stores.run_records import EventBatch, NewRun, Right

Item = dict[str, Any]
"""A Responses item as JSON."""

Family = Literal["databricks", "openai"]
"""Which addresses a response belongs to: `/v1` is `openai`, all others are `databricks`."""

ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]

Kind = Literal["response", "items"]
"""`items` are items that were added to a conversation without a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Where a stored run begins."""

    conversation: str
    """The id of the conversation, as its owner knows it."""

    thread: str
    """LangGraph's `thread_id`. No client ever sees it."""

    parent: str | None = None
    """The id of the response that this run follows, or `None` at the root of the conversation."""

    checkpoint: str | None = None
    """The LangGraph checkpoint from which the graph continues. `None` starts with an empty state."""

    is_new: bool = False
    """Whether the conversation does not exist yet. It is created when the run begins."""

    at_head: bool = False
    """Whether the run follows `parent` only because that is the newest response. If another one has ended meanwhile,
    the conversation counts as busy: the run would start a branch that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the graph waits for after a response."""

    approvals: Sequence[Mapping[str, Any]]
    """The questions to a person, as `protocol.approvals.Approval.fields`."""

    unread: bool = False
    """Whether the messages of the response's input are not in its checkpoint: they run once the questions are
    answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDecision:
    """A person's decision that a response brings, or with which its run resumes the graph."""

    approval: str
    """The id of the approval."""

    decision: Mapping[str, Any]
    """As `protocol.approvals.Decision.fields`."""

    used: bool
    """Whether the run resumes the graph with it. Otherwise it is kept until the others are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApproval:
    """One question to a person, and what was answered."""

    id: str
    conversation: str
    response: str
    """The id of the response that asked it first."""

    approval: Mapping[str, Any]
    """As `protocol.approvals.Approval.fields`."""

    decision: Mapping[str, Any] | None = None
    """As `protocol.approvals.Decision.fields`, or `None` if nothing was answered."""

    used_by: str | None = None
    """The id of the response whose run resumed the graph with it. An answered question without it still waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewResponse:
    """A response whose run is about to start."""

    id: str
    continuation: Continuation
    graph: str
    """The name of the graph."""

    family: Family
    created_at: float
    """Seconds since 1970."""

    input: Sequence[Item]
    """The items that this response adds to the conversation. Each has an id."""

    title: str | None = None
    """The title of the conversation, if this is its first response."""

    kind: Kind = "response"

    decisions: Sequence[GivenDecision] = ()
    """What was decided about approvals. It is recorded before the graph is resumed."""

    run: NewRun | None = None
    """What other processes must know of the run. `None`: the run lives and ends in this process."""

    steers: Sequence[str] = ()
    """The ids of the steers of its parent whose messages are among its input. They are taken by no other response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """The response that begins in the transaction that ends the one before it, because that one was steered."""

    new: NewResponse
    """Its `steers` are the ones that it takes."""

    busy_until: float
    """The end of the lease of the conversation, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedResponse:
    """How a stored run ended."""

    status: ResponseStatus
    response: Mapping[str, Any]
    """The whole response object, as it was sent."""

    checkpoint: str | None
    """The last checkpoint that the run wrote, or `None` if it wrote none."""

    fingerprints: Fingerprints | None = None
    """`None` if the response has no text of the assistant."""

    messages: Mapping[str, str] = field(default_factory=dict)
    """Item id -> id of the message in the graph's state, for output items where the two differ."""

    waiting: Waiting | None = None
    """What the graph waits for, or `None`."""

    right: Right | None = None
    """The right of a run that has a `NewRun`."""

    events: EventBatch | None = None
    """The last events of that run. They are committed with the record."""

    trace: str | None = None
    """The id of the run's trace, or `None`. Of several attempts, that of the last one."""

    successor: Successor | None = None
    """The response that begins now, because this one was steered."""

    leaves_steers: bool = False
    """Whether what is queued for it waits for the request that answers it."""

    fails_steers: bool = False
    """Whether what is queued for it is given back, because no successor can begin. If it failed, that is so anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenFeedback:
    """What the owner said last about a response, under one name."""

    value: bool
    assessment: str
    """The id of the assessment in the store of traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """One response of a conversation."""

    id: str
    conversation: str
    thread: str
    parent: str | None
    checkpoint: str | None
    """The last checkpoint that its run wrote, or `None`."""

    kind: Kind
    graph: str
    family: Family
    status: ResponseStatus
    created_at: float
    input: Sequence[Item]
    response: Mapping[str, Any] | None
    """The response object. `None` until the run has ended, and for added items."""

    fingerprints: Fingerprints | None = None
    messages: Mapping[str, str] = field(default_factory=dict)
    waiting: Waiting | None = None
    """What the graph waits for after this response, or `None`."""

    trace: str | None = None
    """The id of the trace of its run, or `None`."""

    feedback: Mapping[str, GivenFeedback] = field(default_factory=dict)
    """What the owner said about it, by name."""

    steers: int = 0
    """How many steers wait for it, or for the request that follows it."""

    @property
    def is_open(self) -> bool:
        """Whether its run has not ended."""
        return self.status in ("queued", "in_progress")

    @property
    def output(self) -> Sequence[Item]:
        """The items that the response returned."""
        return (self.response or {}).get("output") or []


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation of an owner."""

    id: str
    thread: str
    """LangGraph's `thread_id`. No client ever sees it."""

    title: str | None
    metadata: Mapping[str, str]
    created_at: float
    updated_at: float
    head: str | None
    """The id of the newest response, from which the conversation continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is wanted, as OpenAI's list calls ask for it."""

    limit: int = 20
    after: str | None = None
    """The id of the last entry that the caller has."""

    order: Literal["asc", "desc"] = "desc"
