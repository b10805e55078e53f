"""The two inputs of a run: the request, which may be stored, and the scope, which never is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graph_agent.app_context import AppContext
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import OF_CONNECTION
from graph_agent.protocol.fingerprints import NO_TEXTS, Texts
from graph_agent.redaction import with_hidden_values
from graph_agent.redaction.known_secrets import KnownSecrets
from graph_agent.runs.log_context import Facts, within_log_facts
from graph_agent.stores.records import Continuation, GivenDecision, Item, StoredResponse

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds, and the service imports this module before its port is bound.
    from graph_agent.protocol.approvals import Approval, Decision
    from graph_agent.protocol.requests import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a person has decided about the questions for which the graph waits."""

    waiting: "Sequence[Approval]"
    """The questions."""

    decisions: "Mapping[str, Decision]"
    """Approval id -> the decision, of this request or of an earlier one."""

    resume: Mapping[str, Any]
    """Interrupt id -> the value with which the graph is resumed. Interrupts that still lack a decision are not in it.
    If it is empty, nothing runs, and the questions are asked again."""

    given: Sequence[GivenDecision]
    """What is recorded before the graph is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a stored run adds to its conversation, and where."""

    continuation: Continuation

    items: Sequence[Item]
    """The input items that are new to the conversation. `Invocation.messages` are the same as messages."""

    texts: Texts = NO_TEXTS
    """The texts of the conversation with this turn's items. `reconcile.fingerprints_after` continues them with the
    response's output."""

    unfinished: Mapping[str, str] = field(default_factory=dict)
    """What the response from whose checkpoint the graph continues said before it failed or was ended early: id of the
    message -> text. Texts that no node returned are not in the graph's state, but the client has read them."""

    inferred: bool = False
    """Whether nothing in the request names the conversation: the client resent the history of one. If it is busy, the
    whole request may start a new one (`Continuing.afresh`)."""

    title: str | None = None
    """The title of the conversation, if it is new."""

    answers: Answers | None = None
    """What was answered, if the graph waits for a person's decision. `Invocation.messages` run after that."""

    sent_calls: Mapping[str, str] = field(default_factory=dict)
    """The calls without a result in the response from whose end the graph goes on: call id -> tool."""

    replaces: bool = False
    """Whether the messages take the place of all that the graph's state has: they begin with a summary of it."""

    goes_on: bool = False
    """Whether the graph was stopped between two steps, because its run was steered. It goes on there, and gets the
    messages before its next step."""

    steers: Sequence[str] = ()
    """The ids of the steers whose messages are among the items."""

    repeats: StoredResponse | None = None
    """The response that this request has got before. It is sent again, and nothing runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is requested, and by whom. A store can keep it and another process can run it: what must not leave this
    process, such as the credentials for MCP servers, is marked and left out there."""

    invocation: "Invocation"
    """The request's body, parsed and redacted."""

    dialect: Dialect
    """The dialect of the address that received the request."""

    owner: Caller
    """The verified caller. No one else may read, join or cancel the run."""

    accepted_at: float
    """When the request was accepted, in seconds since 1970."""

    turn: Turn | None = None
    """The place of this run in its conversation. `None`: nothing of it is stored."""

    key: str | None = None
    """The `Idempotency-Key` of the request."""

    digest: str | None = None
    """Identifies what was asked, so that the same request is recognized when it is sent again."""

    connection: str | None = field(default=None, metadata={OF_CONNECTION: True})
    """The id of the connection that alone remembers the response. Its `turn` is a place in the memory of that
    connection, and nothing of it is stored."""

    @property
    def conversation(self) -> str | None:
        """The id of the conversation as the caller knows it, if it has one."""
        if self.turn is None or (self.connection is not None and self.invocation.thread is not None):
            return self.invocation.thread
        return self.turn.continuation.conversation

    @property
    def keeper(self) -> Owner:
        """The owner of the record of this run."""
        owner = Owner.of(self.owner)
        return owner if self.connection is None else owner.at(self.connection)

    @property
    def can_be_joined(self) -> bool:
        """Whether its owner can read its events at other connections."""
        return self.turn is not None and self.connection is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a run inherits from its surroundings. It exists only in memory and ends with the run.

    A run starts without the context variables of the code that starts it. Everything that it inherits is named here.
    """

    token: UserToken | None = None
    """The token of the calling user, for calls to Databricks on their behalf."""

    hidden: KnownSecrets | None = field(default=None, repr=False)
    """Values that are redacted in all output and logs of the run, besides the token and the secrets of the process."""

    facts: Facts | None = None
    """The facts in the run's log lines. The object is shared: facts that are added later appear in later lines."""

    app: AppContext | None = None
    """The app that serves the run, with its settings and clients. Without one, the environment is used."""

    ends_by: float | None = None
    """When the run must have ended, in terms of `time.monotonic()`, because its caller does not wait longer. `None`
    leaves the run its whole budget."""

    ambient: Context | None = field(default=None, repr=False)
    """Further context variables, such as the span that MLflow has opened around `predict`."""

    def context(self) -> Context:
        """A new context for the run. Code that starts a task in it must do so within `entered()`."""
        return Context() if self.ambient is None else self.ambient.copy()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within this context the scope applies, also in tasks that start in it."""
        app = nullcontext() if self.app is None else self.app.entered()
        with within_log_facts(self.facts), with_hidden_values(self.hidden), with_user_token(self.token), app:
            yield
