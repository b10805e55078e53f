"""What a method of an address takes and answers, for the description of the API.

The method that answers carries it, so that both are changed together: `@described(…)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from graph_agent.errors import (
    AgentError,
    BodyTooLarge,
    BodyTooSlow,
    InvalidRequest,
    LifespanNotRun,
    NotJson,
    NotReady,
    RunCancelled,
    ServiceStopping,
    StoreUnavailable,
    TooManyRuns,
    Unauthenticated,
    WorkspaceUnavailable,
)
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.field_checks import Schema

Errors = Sequence[type[AgentError]]


def every(kind: type[AgentError]) -> Errors:
    """This kind of errors and those below it, as far as they are in `errors`: others are for tests and commands."""
    below = [one for one in kind.__subclasses__() if one.__module__ == AgentError.__module__]
    return (kind, *(one for kind_below in below for one in every(kind_below)))


OF_CALLER: Errors = (Unauthenticated, WorkspaceUnavailable)
"""Why it is unknown who is calling."""

OF_STORE: Errors = (*OF_CALLER, StoreUnavailable, LifespanNotRun, ServiceStopping)
"""Why nothing of the caller can be read or kept."""

OF_GRAPHS: Errors = (NotReady, LifespanNotRun, ServiceStopping)
"""Why there are no graphs."""

OF_BODY: Errors = (InvalidRequest, NotJson, BodyTooSlow, BodyTooLarge, TooManyRuns, RunCancelled)
"""Why a body is refused."""

JSON = "application/json"
EVENTS = "text/event-stream"

REQUEST_ID, RETRY_AFTER, SHOULD_RETRY = "x-request-id", "retry-after", "x-should-retry"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header of a request."""

    name: str
    schema: Schema
    says: str
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no error."""

    says: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    """Media type -> the schema of the body. Of `EVENTS`, the schema of the JSON in a frame."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Name -> what it says."""
    done: bool = True
    """Whether a stream ends with `[DONE]`."""


Answers = Mapping[int, Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method of an address takes and answers."""

    tag: str
    answers: Callable[[Dialect], Answers]
    """By the dialect of the address."""
    body: Schema | None = None
    body_required: bool = True
    parameters: Sequence[Parameter] = ()
    errors: Errors = ()


F = TypeVar("F", bound=Callable[..., Any])


def described(
    tag: str,
    answers: Schema | Callable[[Dialect], Answers],
    *,
    says: str = "It is done.",
    body: Schema | None = None,
    body_required: bool = True,
    parameters: Sequence[Parameter] = (),
    errors: Errors = (),
) -> Callable[[F], F]:
    """Describe the method of an address. `answers` may be the schema of its one JSON answer, of which `says` speaks.

    `errors` are those of the method itself. Those of the middleware are added to every method.
    """

    def answered(dialect: Dialect) -> Answers:
        return answers(dialect) if callable(answers) else {200: Answer(says, {JSON: answers})}

    operation = Operation(
        tag=tag,
        answers=answered,
        body=body,
        body_required=body_required,
        parameters=parameters,
        errors=errors,
    )

    def with_operation(function: F) -> F:
        carrier: Any = function
        carrier.operation = operation
        return function

    return with_operation


def operation_of(answering: Any) -> tuple[Operation | None, str]:
    """The description of the method that answers, and the first paragraph of its docstring."""
    while isinstance(answering, partial):
        answering = answering.func
    words = " ".join((answering.__doc__ or "").strip().split("\n\n")[0].split())
    return getattr(answering, "operation", None), words
