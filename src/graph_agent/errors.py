"""Every error that a caller or an operator can get.

    AgentError
    ├── RequestError                 the caller can fix it
    │   ├── InvalidRequest           400  a field is wrong; `param` names it
    │   │   ├── InvalidEncryptedContent  400  a sealed item that cannot be opened
    │   │   ├── UnsupportedField     400  a field that this service does not support yet
    │   │   └── UnknownGraph         404
    │   ├── Unauthenticated          401
    │   ├── ForeignPage              403  a page of another site uses a server without a token
    │   ├── OperatorsOnly            403  something of another user, for operators alone
    │   ├── NotJson                  415
    │   ├── RouteNotFound            404
    │   ├── NotStored                404  the owner has no such thing
    │   │   ├── RunNotFound, ResponseNotFound, ConversationNotFound, ItemNotFound, MemoryNotFound,
    │   │   │   ApprovalNotFound
    │   │   └── PreviousResponseNotFound 400  a message over WebSocket continues what is not there
    │   ├── OtherAddress             409  the response belongs to the other family of addresses
    │   ├── ConversationBusy         409  another run is in progress; names its response
    │   ├── ApprovalAnswered         409  the approval was answered with something else
    │   ├── IdempotencyKeyUsed       409  the key was sent with another request
    │   ├── SteeringNotSupported     409  the response cannot take messages while it is in progress
    │   ├── ResponseCompleted        409  the response has ended, so it takes no messages any more
    │   ├── ResponseNotActive        409  the response has failed or was cancelled, so it takes none either
    │   ├── TooManySteers            429  too many messages wait for the response
    │   ├── NoTrace                  404  the response has no trace, so it takes no feedback
    │   ├── TraceNotReady            409  the trace of the response is not stored yet
    │   ├── EventLogExpired          410  the run has ended long ago, and its events are gone
    │   ├── MethodNotAllowed         405
    │   ├── BodyTooSlow              408
    │   ├── BodyTooLarge             413
    │   ├── TooManyCredentials       431  the headers hold too many secrets
    │   ├── LimitReached             429  a limit for people; has `retry_after`, until it resets
    │   ├── SocketExpired            400  a WebSocket was open for as long as it may be
    │   └── TooManyRuns              429  has `retry_after`, in seconds; also `TooManyQueued`, `TooManySockets`
    ├── RunError                     the run failed
    │   ├── GraphFailed              500  a node raised an exception
    │   ├── WorkspaceUnavailable     502  no client for the Databricks workspace could be made
    │   ├── ModelFailed              502  the model endpoint refused the call or broke off
    │   │   ├── ModelRateLimited     429  even after retries
    │   │   └── ModelTimedOut        504  silent, or the call took too long
    │   ├── CompactionFailed         502  the model gave no summary of the conversation
    │   ├── AnswerUnfit              502  the answer does not have the form that the request asks for
    │   ├── RetrievalFailed          502
    │   ├── ToolFailed               502  a tool's server refused or was silent; most runs continue without it
    │   ├── ApprovalNeedsStore       501  the graph called `interrupt()`, and the run is not stored
    │   ├── ApprovalNotResumable     501  the graph waits in a way that no answer can resume
    │   ├── MemoryRefused            409  the memory is full, or cannot keep this
    │   ├── RequestUnreadable        500  another version of the service has recorded the request
    │   ├── LeaseLost                500  another process has taken over the conversation
    │   └── RunCancelled             499  the caller left
    ├── NotReady                     503  graphs are still loading, or did not load
    │   └── NoThreadFree             503  synchronous nodes that never return occupy every thread
    ├── ChatAppUnavailable           503  the chat app behind the service does not accept requests
    ├── ChatAppFailed                502  the chat app broke off or was silent
    ├── ServiceStopping              503  the service is shutting down
    ├── StoreUnavailable             503  the database does not answer
    ├── TraceStoreUnavailable        503  the store of traces does not answer
    ├── ConfigurationError           at startup; the message says what to change
    │   ├── BadSetting, BadFile, BadBundle (and `UnsetVariable`), GraphNotLoaded
    │   ├── LifespanNotRun           500  a host app mounted the service without its lifespan
    │   └── CannotDraw, ProjectNotWritten, ProjectNotRead
    ├── DeployError                  `graph-agent deploy`
    │   ├── DeployRefused            nothing was changed
    │   └── DeployFailed             the message says in which state the app is
    └── LocalWorkspaceError          laptop only: `WeightsUnavailable`, `LocalModelFailed`, `PromptTooLong`,
                                     `IndexUnavailable`, `NoTraces`

Each message says what is wrong and what to change. It never quotes an exception of other code, which may hold secrets.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self


class AgentError(Exception):
    """The base of all errors. `status` is the HTTP status when nothing was sent yet; `code` is the name on the wire."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    kind: str = "server_error"
    retry_after: int | None = None
    """The seconds after which the same request may succeed, if known."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def in_words(self, message: str, *, param: str | None) -> Self:
        """The same error with another message and another path."""
        # Not by the constructor, which may need more than that.
        told = type(self).__new__(type(self), message)
        told.__dict__.update(self.__dict__)
        told.message, told.param = message, param
        return told

    def body(self) -> dict[str, Any]:
        """The JSON body of the error: `error` for OpenAI clients, `detail` for MLflow's clients."""
        return {"error": self.fields(), "detail": self.message}

    def fields(self) -> dict[str, Any]:
        """`message`, `type`, `param` and `code`, as the OpenAI API names them."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


class RequestError(AgentError):
    """The request is wrong. The caller can fix it."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class InvalidRequest(RequestError):
    """A field of the request is wrong; `param` is its path, such as `input[2].content`."""


class UnsupportedField(InvalidRequest):
    """A field of the Responses API that is not supported yet. It is refused by name, never ignored."""

    code = "unsupported_field"


class InvalidEncryptedContent(InvalidRequest):
    """A sealed item cannot be opened: another owner or another key sealed it, or it was changed on its way."""

    code = "invalid_encrypted_content"


class UnknownGraph(InvalidRequest):
    """No graph has that name."""

    status = 404
    code = "unknown_graph"


class Unauthenticated(RequestError):
    """The service could not establish who is calling."""

    status = 401
    code = "unauthenticated"
    kind = "authentication_error"


class ForeignPage(RequestError):
    """A page of another site, or of a host name that is not this server's, called a server that requires no token."""

    status = 403
    code = "foreign_page"
    kind = "permission_error"


class OperatorsOnly(RequestError):
    """The caller asked for something of another user, which only operators may see."""

    status = 403
    code = "operators_only"
    kind = "permission_error"


class NotJson(RequestError):
    """The request does not declare that its body is JSON."""

    status = 415
    code = "not_json"


class RouteNotFound(RequestError):
    """There is no such address."""

    status = 404
    code = "not_found"


class NotStored(RequestError):
    """This owner has no such thing. The error does not reveal whether another owner has it."""

    status = 404


class RunNotFound(NotStored):
    """This process has no such run of this owner."""

    code = "run_not_found"


class ResponseNotFound(NotStored):
    """The store has no such response of this owner."""

    code = "response_not_found"


class PreviousResponseNotFound(ResponseNotFound):
    """Neither the connection nor the store has the response that a message over WebSocket continues."""

    status = 400
    code = "previous_response_not_found"


class ConversationNotFound(NotStored):
    """The store has no such conversation of this owner."""

    code = "conversation_not_found"


class ItemNotFound(NotStored):
    """The conversation has no such item."""

    code = "item_not_found"


class MemoryNotFound(NotStored):
    """The store has no such memory of this owner."""

    code = "memory_not_found"


class ApprovalNotFound(NotStored):
    """The store has no such approval of this owner."""

    code = "approval_not_found"


class ApprovalAnswered(RequestError):
    """The approval was answered before, with something else."""

    status = 409
    code = "approval_answered"


class IdempotencyKeyUsed(RequestError):
    """The `Idempotency-Key` was sent before, with another request."""

    status = 409
    code = "idempotency_key_used"


class SteeringNotSupported(RequestError):
    """The response takes no messages while it is in progress: it is not stored, or its graph keeps no messages."""

    status = 409
    code = "steering_not_supported"


class ResponseCompleted(RequestError):
    """The response has ended, so it takes no messages any more."""

    status = 409
    code = "response_already_completed"


class ResponseNotActive(RequestError):
    """The response has failed or was cancelled, so it takes no messages any more."""

    status = 409
    code = "response_not_active"


class TooManySteers(RequestError):
    """Too many messages, or too many bytes of them, wait for the response already."""

    status = 429
    code = "too_many_pending_steers"
    kind = "rate_limit_error"


class EventLogExpired(RequestError):
    """The run ended long ago, and its events were deleted. The response can still be read whole."""

    status = 410
    code = "event_log_expired"


class NoTrace(RequestError):
    """The response has no trace, or its trace is gone. Feedback belongs to a trace."""

    status = 404
    code = "no_trace"


class TraceNotReady(RequestError):
    """The trace of the response is not stored yet. The same request succeeds a little later."""

    status = 409
    code = "trace_not_ready"
    retry_after = 5


class OtherAddress(RequestError):
    """The response was made at an address of the other family and has the other form."""

    status = 409
    code = "other_address"


class ConversationBusy(RequestError):
    """Another run of this conversation is in progress. `running` is the id of its response."""

    status = 409
    code = "conversation_busy"
    retry_after = 2

    def __init__(self, message: str, *, running: str) -> None:
        super().__init__(message)
        self.running = running


class MethodNotAllowed(RequestError):
    """The address does not support this method."""

    status = 405
    code = "method_not_allowed"


class BodyTooSlow(RequestError):
    """The body did not arrive within `GRAPH_AGENT_READ_SECONDS`."""

    status = 408
    code = "body_too_slow"


class BodyTooLarge(RequestError):
    """The body is larger than `GRAPH_AGENT_MAX_BODY_BYTES`."""

    status = 413
    code = "body_too_large"


class TooManyCredentials(RequestError):
    """The headers hold more secrets than the service can search for in every text of an answer."""

    status = 431
    code = "too_many_credentials"


class TooManyRuns(RequestError):
    """`GRAPH_AGENT_MAX_RUNS` runs are active. `retry_after` is in whole seconds."""

    status = 429
    code = "too_many_runs"
    kind = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyQueued(TooManyRuns):
    """A WebSocket has as many messages waiting as it may have."""

    code = "too_many_queued"


class TooManySockets(TooManyRuns):
    """`GRAPH_AGENT_MAX_SOCKETS` WebSockets are open."""

    code = "too_many_sockets"


class SocketExpired(RequestError):
    """A WebSocket has been open for as long as it may be."""

    code = "websocket_connection_limit_reached"


class LimitReached(RequestError):
    """A user, or all users together, have used what the operator allows for a minute or a day: `GRAPH_AGENT_LIMIT_…`.

    `retry_after` is in whole seconds, until the limit resets. `unit` is `requests` or `tokens`. `ratelimits` are the
    figures for clients, such as `remaining-tokens`. `may_be_raised` says whether it is a limit of tokens that its user
    may raise, if the operator lets users do so.
    """

    status = 429
    code = "rate_limit_exceeded"

    def __init__(
        self,
        message: str,
        *,
        unit: str,
        may_be_raised: bool,
        retry_after: int,
        ratelimits: Mapping[str, str],
        details: Mapping[str, Any],
    ) -> None:
        super().__init__(message)
        # The type that OpenAI's API gives such an error.
        self.kind = unit
        self.may_be_raised = may_be_raised
        self.retry_after = retry_after
        self.ratelimits = ratelimits
        self.details = details
        """What a person is told who decides whether the run goes on."""


class RunError(AgentError):
    """The run failed."""

    code = "run_failed"


class GraphFailed(RunError):
    """A node of the graph raised an exception."""

    code = "graph_failed"


class ModelFailed(RunError):
    """The model endpoint refused the call or broke off its answer."""

    status = 502
    code = "model_failed"

    refuses_request: bool = False
    """Whether the endpoint does not accept the request itself, such as one of its parameters."""


class ModelContextExceeded(ModelFailed):
    """The conversation is longer than the model can read, even without its earlier turns."""

    status = 400
    code = "context_length_exceeded"


class CompactionFailed(RunError):
    """The conversation could not be summarized: the model gave nothing, or what must stay is too large to be sealed."""

    status = 502
    code = "compaction_failed"


class ModelRateLimited(ModelFailed):
    """The model endpoint refused the call because of too many requests, even after retries.

    `retry_after` is in whole seconds. It is set if the endpoint asked for a long wait.
    """

    status = 429
    code = "model_rate_limited"
    kind = "rate_limit_error"


class ModelTimedOut(ModelFailed):
    """The model endpoint was silent for too long, or the call took too long."""

    status = 504
    code = "model_timed_out"


class WorkspaceUnavailable(RunError):
    """The Databricks workspace cannot be reached, or does not accept the app's credentials."""

    status = 502
    code = "workspace_unavailable"


class AnswerUnfit(RunError):
    """The answer of the graph does not have the form that `text.format` asks for, also after a second attempt."""

    status = 502
    code = "answer_unfit"


class RetrievalFailed(RunError):
    """The document index refused the query or did not answer in time."""

    status = 502
    code = "retrieval_failed"


class ToolFailed(RunError):
    """The server of a tool refused the call, broke off or was silent: an MCP server, a SQL warehouse or Genie."""

    status = 502
    code = "tool_failed"


class MemoryRefused(RunError):
    """The memory cannot be saved: there are too many, it is too large, or its key cannot be used."""

    status = 409
    code = "memory_refused"


class ApprovalNeedsStore(RunError):
    """The graph asked for a person's decision with `interrupt()`, and only a stored run can wait for it."""

    status = 501
    code = "approval_needs_store"


class ApprovalNotResumable(RunError):
    """The graph waits in a way that no answer can resume."""

    status = 501
    code = "approval_not_resumable"


class RequestUnreadable(RunError):
    """The request of a run in the background cannot be read from the store, so this process cannot run it."""

    code = "request_unreadable"


class LeaseLost(RunError):
    """The process did not renew its lease in time, and the conversation is no longer its own."""

    code = "process_lost"


class RunCancelled(RunError):
    """The caller left before the run ended."""

    status = 499
    code = "run_cancelled"


class NotReady(AgentError):
    """The graphs are still loading, or could not be loaded."""

    status = 503
    code = "not_ready"
    retry_after = 5


class NoThreadFree(NotReady):
    """Every thread for synchronous nodes is occupied by a node whose run has ended."""


class StoreUnavailable(AgentError):
    """The database of `GRAPH_AGENT_STORE` does not answer. The same request succeeds once it does."""

    status = 503
    code = "store_unavailable"
    retry_after = 5


class ChatAppUnavailable(AgentError):
    """The chat app behind the service (`CHAT_APP_PORT`) does not accept requests."""

    status = 503
    code = "chat_app_unavailable"
    retry_after = 5


class ChatAppFailed(AgentError):
    """The chat app behind the service broke off or was silent for too long."""

    status = 502
    code = "chat_app_failed"


class TraceStoreUnavailable(AgentError):
    """The store of traces does not answer, or refuses what it is sent. Nothing was kept."""

    status = 503
    code = "trace_store_unavailable"
    retry_after = 5


class ServiceStopping(AgentError):
    """The service is shutting down. The same request succeeds on the next instance."""

    status = 503
    code = "service_stopping"
    retry_after = 5


class ConfigurationError(AgentError):
    """The service cannot start with this configuration."""

    code = "configuration_error"


class BadSetting(ConfigurationError):
    """A `GRAPH_AGENT_*` variable has an invalid value. `param` is its name."""


class BadFile(ConfigurationError):
    """The operator's file of schedules or of webhooks is invalid. `param` is the setting that names it, and `problems`
    are all that was found."""

    def __init__(self, name: str, problems: Sequence[str], *, param: str) -> None:
        super().__init__(f"{name} ({param}): {'; '.join(problems)}", param=param)
        self.problems = tuple(problems)


class BadBundle(ConfigurationError):
    """`databricks.yml` or `app.yaml` is invalid. `param` names the place."""

    code = "bad_bundle"


class UnsetVariable(BadBundle):
    """A variable of the bundle has neither a default nor a value in the environment."""


class GraphNotLoaded(ConfigurationError):
    """A graph could not be loaded. `param` is its name."""

    code = "graph_not_loaded"


class LifespanNotRun(ConfigurationError):
    """A host app mounted this app and does not run its lifespan, so no graph is ever loaded."""

    code = "lifespan_not_run"


class CannotDraw(ConfigurationError):
    """`graph-agent graph` cannot draw in this format or cannot write the file."""

    code = "cannot_draw"


class ProjectNotWritten(ConfigurationError):
    """`graph-agent init` cannot write into this folder. It wrote nothing."""

    code = "project_not_written"


class ProjectNotRead(ConfigurationError):
    """`graph-agent init --from` knows no way to take this project over. It wrote nothing."""

    code = "project_not_read"


class DeployError(AgentError):
    """The app could not be deployed."""

    code = "deploy_failed"


class DeployRefused(DeployError):
    """Something must be fixed first. Nothing was changed in the workspace."""

    code = "deploy_refused"


class DeployFailed(DeployError):
    """The deployment failed after it had begun. The message says in which state the app is."""


class LocalWorkspaceError(AgentError):
    """The local workspace cannot do this."""

    code = "local_workspace_error"


class WeightsUnavailable(LocalWorkspaceError):
    """The model's weights could not be fetched or verified."""


class LocalModelFailed(LocalWorkspaceError):
    """The local model could not be started, or it stopped answering."""


class PromptTooLong(LocalWorkspaceError):
    """The prompt does not fit the model's context window, even after trimming."""

    status = 400
    code = "prompt_too_long"


class IndexUnavailable(LocalWorkspaceError):
    """The index file is missing, or another version wrote it."""


class NoTraces(LocalWorkspaceError):
    """`graph-agent traces` has nothing to show."""
