"""The form that a request asks of the answer: any JSON object, or JSON that fits a schema.

A schema comes from the client, and an answer from a model, so both may be hostile. The work of a check is bounded, no
address is fetched, and no regular expression of a schema is run.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar

TAKES_FORM = "graph_agent_takes_answer_form"
"""Attribute of a node's function that answers in the form of the request."""

IN_FORM = "graph_agent_in_form"
"""Tag of a model call whose endpoint enforces the form. Its text is the answer and streams."""

MOST_ANSWER = 1_000_000
"""Characters of an answer."""

MOST_STEPS = 100_000
"""Keywords of a schema that are compared with values of an answer: a second or two."""

PER_REFERENCE = 10
"""Steps of a `$ref`, which takes longer than other keywords."""

MOST_HERE = 4_000
"""Characters of an answer that is checked on the event loop, with a schema of as many that refers to nothing."""

UNCHECKED = frozenset({"pattern", "format", "contentEncoding", "contentMediaType"})
"""Keywords that are not checked. The first is a regular expression of the client."""

AS_JSON = "Answer with one JSON object and nothing else, without a code block."
IN_SCHEMA = "Answer with JSON and nothing else, without a code block. It must fit this JSON schema:\n{schema}"
AGAIN = "That answer cannot be used: {problem}. Write the whole answer again, as JSON and nothing else."

Pulse = Callable[[], None]
"""Lets other tasks run now and then."""

F = TypeVar("F", bound=Callable[..., Any])


def no_pulse() -> None:
    """The pulse of a check that holds nobody up."""


class Unfit(Exception):
    """An answer that does not have the form. `problem` says why, for the model."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """What the answer must be."""

    kind: Literal["json_object", "json_schema"]
    name: str = "answer"
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: str | None = None
    strict: bool | None = None

    @property
    def instructions(self) -> str:
        """What a model is told."""
        if self.kind == "json_object":
            return AS_JSON
        told = IN_SCHEMA.format(schema=json.dumps(dict(self.schema), ensure_ascii=False))
        return told if self.description is None else f"{self.description}\n\n{told}"

    @property
    def response_format(self) -> dict[str, Any]:
        """The parameter of a chat completion."""
        if self.kind == "json_object":
            return {"type": "json_object"}
        given: dict[str, Any] = {"name": self.name, "schema": dict(self.schema)}
        if self.description is not None:
            given["description"] = self.description
        if self.strict is not None:
            given["strict"] = self.strict
        return {"type": "json_schema", "json_schema": given}

    def is_quick(self, text: str) -> bool:
        """Whether the check of this answer holds nobody else up."""
        schema = json.dumps(dict(self.schema))
        return len(text) + len(schema) <= MOST_HERE and '"$ref"' not in schema

    def read(self, text: str, *, pulse: Pulse = no_pulse) -> str:
        """The answer as JSON, without a code block around it. Calls `pulse` often.

        Raises:
            Unfit: it does not have the form.
        """
        bare = _without_fence(text.strip())
        self.check(bare, pulse=pulse)
        return bare

    def check(self, text: str, *, pulse: Pulse = no_pulse) -> None:
        """Check that a whole answer has the form. Calls `pulse` often.

        Raises:
            Unfit: it does not.
        """
        if len(text) > MOST_ANSWER:
            raise Unfit("it is too long")
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Unfit("it is not JSON") from None
        if self.kind == "json_object":
            if not isinstance(value, dict):
                raise Unfit("it is not a JSON object")
            return
        steps = _steps.set(_Steps(MOST_STEPS, pulse))
        try:
            problem = next(_validator_class()(dict(self.schema)).iter_errors(value), None)
        except (_TooMuch, RecursionError):
            raise Unfit("it takes too long to compare it with its schema") from None
        finally:
            _steps.reset(steps)
        if problem is not None:
            raise Unfit(_described(problem))


@dataclass(slots=True)
class _Steps:
    """How much work a check may still do."""

    left: int
    pulse: Pulse

    def take(self, count: int) -> None:
        """Do so many steps."""
        self.left -= count
        if self.left < 0:
            raise _TooMuch
        self.pulse()


_steps: ContextVar[_Steps] = ContextVar("graph_agent_schema_steps")


class _TooMuch(Exception):
    """The work of a check is used up."""


@cache
def _validator_class() -> Any:
    # Late: it takes a tenth of a second, and only some requests have a schema.
    from jsonschema import Draft202012Validator, validators  # type: ignore[import-untyped]

    kept = (name for name in Draft202012Validator.VALIDATORS if name not in UNCHECKED)
    known = {
        name: _counted(Draft202012Validator.VALIDATORS[name], PER_REFERENCE if name == "$ref" else 1) for name in kept
    }
    known["uniqueItems"] = _counted(_unique_items, 1)
    return validators.create(
        meta_schema=Draft202012Validator.META_SCHEMA,
        validators=known,
        type_checker=Draft202012Validator.TYPE_CHECKER,
        id_of=lambda schema: "",
    )


def _counted(function: Any, steps: int) -> Any:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        _steps.get().take(steps + (len(value) // 8 if isinstance(value, list | dict) else 0))
        yield from function(validator, value, instance, schema) or ()

    return checked


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """The library compares each item with each other one."""
    from jsonschema import ValidationError

    if value and isinstance(instance, list):
        written = {json.dumps(one, sort_keys=True) for one in instance}
        if len(written) < len(instance):
            yield ValidationError("not unique")


def _described(problem: Any) -> str:
    """What is wrong, in words of ours."""
    place = "".join(f"/{part}" for part in problem.absolute_path) or "the answer"
    if problem.validator == "required":
        missing = [name for name in problem.validator_value if name not in problem.instance]
        return f"{place} lacks {', '.join(missing)}"
    return f"{place} does not fit `{problem.validator}`"


def _refuse(constant: str) -> None:
    raise ValueError


def _without_fence(text: str) -> str:
    if not (text.startswith("```") and text.endswith("```") and len(text) > 6):
        return text
    first, _, rest = text[3:-3].partition("\n")
    return rest.strip() if first.strip() in ("", "json", "JSON") else text


# -- the form of the current run ------------------------------------------------------------------------------------

_current: ContextVar[AnswerForm | None] = ContextVar("graph_agent_answer_form", default=None)


def current_answer_form() -> AnswerForm | None:
    """The form that the request of the current run asks of the answer."""
    return _current.get()


@contextmanager
def within_answer_form(form: AnswerForm | None) -> Iterator[None]:
    """Within this context the run has to answer in this form, also in tasks that start in it."""
    token = _current.set(form)
    try:
        yield
    finally:
        _current.reset(token)


def takes_answer_form(node: F) -> F:
    """Mark the function of a node that answers in the form that a request asks for, so that such requests are accepted.

    The nodes of `make_planner` are marked. A node of yours finds the form in `runtime.context.answer_form`.
    """
    setattr(node, TAKES_FORM, True)
    return node
