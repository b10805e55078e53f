"""Exceptions of graphs, tools and clients, made safe: a stranger's message may hold a password."""

from graph_agent.errors import AgentError, GraphFailed, ModelFailed
from graph_agent.foreign_errors import error_chain


def safe_error(error: BaseException, *, model_error: BaseException | None = None) -> AgentError:
    """The error of our family that the caller is told, with nothing of the exception's own text.

    `model_error` is the last exception a model call raised: if it is what ended the run, the model is to blame.
    """
    if isinstance(error, AgentError):
        return error
    chain = list(error_chain(error))
    for one in chain:
        if isinstance(one, AgentError):
            return one
    name = type(error).__name__
    if model_error is not None and any(one is model_error for one in chain):
        return ModelFailed(f"the model endpoint failed ({name}); the service's log has the place")
    return GraphFailed(f"the graph failed ({name}); the service's log has the place")
