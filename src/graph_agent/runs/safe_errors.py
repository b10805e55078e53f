"""Turns exceptions of third-party code into errors that are safe to show: their messages may hold a password."""

from graph_agent.errors import AgentError, GraphFailed, ModelFailed
from graph_agent.foreign_errors import error_chain


def safe_error(error: BaseException, *, model_error: BaseException | None = None) -> AgentError:
    """The error for the caller, without the text of the exception.

    `model_error` is the last exception that a model call raised. If it ended the run, the error is a `ModelFailed`.
    """
    if isinstance(error, AgentError):
        return error
    # A library may wrap our error in one of its own.
    chain = list(error_chain(error))
    for one in chain:
        if isinstance(one, AgentError):
            return one
    name = type(error).__name__
    if model_error is not None and any(one is model_error for one in chain):
        return ModelFailed(f"the model endpoint failed ({name}); the service's log has the place")
    return GraphFailed(f"the graph failed ({name}); the service's log has the place")
