"""Every error a caller or an operator can meet, drawn once.

    AgentError
    ├── RequestError                 the caller can mend it
    │   ├── InvalidRequest           400  a field is wrong; `param` names it
    │   │   ├── UnsupportedField     400  a field this service does not serve yet
    │   │   └── UnknownGraph         404
    │   ├── Unauthenticated          401
    │   ├── RouteNotFound            404
    │   ├── RunNotFound              404  nobody's run, or another owner's
    │   ├── MethodNotAllowed         405
    │   ├── BodyTooSlow              408
    │   ├── BodyTooLarge             413
    │   ├── TooManyCredentials       431  more secrets in its headers than are looked for
    │   └── TooManyRuns              429  carries `retry_after`, seconds
    ├── RunError                     the run failed
    │   ├── GraphFailed              500  a node raised
    │   ├── WorkspaceUnavailable     502  no client for the Databricks workspace could be made
    │   ├── ModelFailed              502  the model endpoint refused or broke off
    │   │   ├── ModelRateLimited     429  also after retries
    │   │   └── ModelTimedOut        504  silent, or longer than a call may take
    │   ├── RetrievalFailed          502
    │   ├── ToolFailed               502  a tool's server refused or was silent; most runs go on without it
    │   ├── ApprovalsNotServed       501  the graph called `interrupt()`
    │   └── RunCancelled             499  the caller left
    ├── NotReady                     503  graphs are still loading, or did not load
    │   └── NoThreadFree             503  synchronous nodes that never return hold every thread
    ├── ServiceStopping              503  the service is shutting down
    ├── ConfigurationError           start-up: what to change is in the message
    │   ├── BadSetting
    │   ├── BadBundle
    │   ├── GraphNotLoaded
    │   ├── LifespanNotRun           500  a host app mounted the service without its lifespan
    │   ├── CannotDraw
    │   └── ProjectNotWritten        `graph-agent init` wrote nothing
    ├── DeployError                  `graph-agent deploy`
    │   ├── DeployRefused            nothing was changed
    │   └── DeployFailed             the message says how the app was left
    └── LocalWorkspaceError          laptop only
        ├── WeightsUnavailable
        ├── LocalModelFailed
        ├── PromptTooLong
        ├── IndexUnavailable
        └── NoTraces

The message of each is written for its reader and says what to change. It never quotes an exception this
package did not raise: those may hold tokens, connection strings or documents.
"""

from typing import Any, ClassVar


class AgentError(Exception):
    """Base of the family: `status` is the HTTP status before the first byte, `code` the stable name on the wire."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    kind: ClassVar[str] = "server_error"
    retry_after: int | None = None
    """Seconds after which the same request may succeed, where that is known."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON error body: `error` for OpenAI clients, `detail` for MLflow's."""
        return {"error": self.fields(), "detail": self.message}

    def fields(self) -> dict[str, Any]:
        """`message`, `type`, `param` and `code`, as the OpenAI API names them."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


class RequestError(AgentError):
    """The caller can mend it."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class InvalidRequest(RequestError):
    """A field of the request is wrong; `param` is its path, such as `input[2].content`."""


class UnsupportedField(InvalidRequest):
    """A field of the Responses API that is not served yet: refused by name, never ignored."""

    code = "unsupported_field"


class UnknownGraph(InvalidRequest):
    """No graph of that name in `langgraph.json`."""

    status = 404
    code = "unknown_graph"


class Unauthenticated(RequestError):
    """Who is calling could not be established."""

    status = 401
    code = "unauthenticated"
    kind = "authentication_error"


class ForeignPage(RequestError):
    """A page of another site, or one under a name that is not this server's, asked a server that wants no token."""

    status = 403
    code = "foreign_page"
    kind = "permission_error"


class NotJson(RequestError):
    """The body is not said to be JSON."""

    status = 415
    code = "not_json"


class RouteNotFound(RequestError):
    """No such address."""

    status = 404
    code = "not_found"


class RunNotFound(RequestError):
    """The owner has no such run; whether somebody else has is not said."""

    status = 404
    code = "run_not_found"


class MethodNotAllowed(RequestError):
    """The address exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class BodyTooSlow(RequestError):
    """The body did not come within `GRAPH_AGENT_READ_SECONDS`."""

    status = 408
    code = "body_too_slow"


class BodyTooLarge(RequestError):
    """The body is larger than `GRAPH_AGENT_MAX_BODY_BYTES`."""

    status = 413
    code = "body_too_large"


class TooManyCredentials(RequestError):
    """The headers hold more secrets than are looked for in every text of an answer."""

    status = 431
    code = "too_many_credentials"


class TooManyRuns(RequestError):
    """`GRAPH_AGENT_MAX_RUNS` runs are under way; `retry_after` is in whole seconds."""

    status = 429
    code = "too_many_runs"
    kind = "rate_limit_error"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunError(AgentError):
    """The run failed."""

    code = "run_failed"


class GraphFailed(RunError):
    """A node of the graph raised."""

    code = "graph_failed"


class ModelFailed(RunError):
    """The model endpoint refused the call or broke the stream off."""

    status = 502
    code = "model_failed"


class ModelRateLimited(ModelFailed):
    """The model endpoint asked for fewer requests, also after retries.

    `retry_after` is in whole seconds, where the endpoint asked for a long wait.
    """

    retry_after: int | None = None

    status = 429
    code = "model_rate_limited"
    kind = "rate_limit_error"


class ModelTimedOut(ModelFailed):
    """The model endpoint was silent for too long, or the call took longer than a call may take."""

    status = 504
    code = "model_timed_out"


class WorkspaceUnavailable(RunError):
    """The Databricks workspace cannot be reached, or does not accept the app's credentials."""

    status = 502
    code = "workspace_unavailable"


class RetrievalFailed(RunError):
    """The document index refused the query or did not answer in time."""

    status = 502
    code = "retrieval_failed"


class ToolFailed(RunError):
    """The server behind a tool refused the call, broke it off or was silent: an MCP server, a SQL warehouse, Genie."""

    status = 502
    code = "tool_failed"


class ApprovalsNotServed(RunError):
    """The graph asked for a person's decision with `interrupt()`."""

    status = 501
    code = "approvals_not_served"


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
    """Synchronous nodes of runs that have ended hold every thread that such a node could run in."""


class ServiceStopping(AgentError):
    """The service is shutting down; the same request succeeds on the next instance."""

    status = 503
    code = "service_stopping"
    retry_after = 5


class ConfigurationError(AgentError):
    """The service cannot start as it is configured."""

    code = "configuration_error"


class BadSetting(ConfigurationError):
    """A `GRAPH_AGENT_*` variable has a value that cannot be used; `param` is its name."""


class BadBundle(ConfigurationError):
    """`databricks.yml` or `app.yaml` cannot be used; `param` names the place."""

    code = "bad_bundle"


class UnsetVariable(BadBundle):
    """A variable of the bundle has neither a default nor a value in the environment."""


class GraphNotLoaded(ConfigurationError):
    """A graph of `langgraph.json` could not be loaded; `param` is its name."""

    code = "graph_not_loaded"


class LifespanNotRun(ConfigurationError):
    """A host app mounted this one and does not run its lifespan, so that no graph is ever loaded."""

    code = "lifespan_not_run"


class CannotDraw(ConfigurationError):
    """`graph-agent graph` cannot draw in that form, or not into that file."""

    code = "cannot_draw"


class ProjectNotWritten(ConfigurationError):
    """`graph-agent init` cannot write into that folder, and wrote nothing."""

    code = "project_not_written"


class DeployError(AgentError):
    """Shipping the app did not work."""

    code = "deploy_failed"


class DeployRefused(DeployError):
    """Something has to be mended first; nothing was changed in the workspace."""

    code = "deploy_refused"


class DeployFailed(DeployError):
    """It failed on the way; the message says how the app was left."""


class LocalWorkspaceError(AgentError):
    """The workspace on this machine cannot do what was asked."""

    code = "local_workspace_error"


class WeightsUnavailable(LocalWorkspaceError):
    """The model's weights could not be fetched or verified."""


class LocalModelFailed(LocalWorkspaceError):
    """The model on this machine could not be started or stopped answering."""


class PromptTooLong(LocalWorkspaceError):
    """The prompt does not fit the model's window even after trimming."""

    status = 400
    code = "prompt_too_long"


class IndexUnavailable(LocalWorkspaceError):
    """The index file is missing, or is not an index of this version."""


class NoTraces(LocalWorkspaceError):
    """`graph-agent traces` has nothing to show."""
