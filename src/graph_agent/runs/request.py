"""What a run is started with: the request, which may be stored, and the scope, which never is."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graph_agent.app_context import AppContext
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol.dialects import Dialect
from graph_agent.redaction import with_hidden_values
from graph_agent.redaction.known_secrets import KnownSecrets
from graph_agent.runs.log_context import Facts, within_log_facts

if TYPE_CHECKING:
    # It imports LangChain, which takes seconds, and the service imports this module before its port is bound.
    from graph_agent.protocol.requests import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is asked for, and by whom. It holds no secret and nothing of this process, so that a store can keep it and
    another process can run it."""

    invocation: "Invocation"
    """The request's body, parsed and redacted."""

    dialect: Dialect
    """Of the address to which the request was sent."""

    owner: Caller
    """Who is calling, as verified at the edge; nobody else may read, join or cancel the run."""

    accepted_at: float
    """When the request was accepted, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a run knows of its surroundings. It is in memory only and ends with the run.

    A run starts without any context variable of the code that starts it. What it shall know is named here.
    """

    token: UserToken | None = None
    """The calling user's, for calls to Databricks on their behalf."""

    hidden: KnownSecrets | None = field(default=None, repr=False)
    """Values that are redacted in everything the run says or logs, besides the token and the process's own."""

    facts: Facts | None = None
    """What the run's log lines say of the request. It is shared: what is noted later shows in later lines."""

    app: AppContext | None = None
    """The app that serves the run: its settings and clients. Without one, they are those of the environment."""

    ends_by: float | None = None
    """When the run must have ended, by `time.monotonic()`: the time left for an answer whose caller does not wait for
    ever. `None` leaves the run its whole budget."""

    ambient: Context | None = field(default=None, repr=False)
    """More context variables to start with, such as the span that MLflow has opened around `predict`."""

    def context(self) -> Context:
        """A context for the run alone. Code that begins a task in it does so within `entered()`."""
        return Context() if self.ambient is None else self.ambient.copy()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it this scope is in force, also in tasks and copied contexts that begin in it."""
        app = nullcontext() if self.app is None else self.app.entered()
        with within_log_facts(self.facts), with_hidden_values(self.hidden), with_user_token(self.token), app:
            yield
