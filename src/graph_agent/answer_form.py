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

MOST_HERE = 400_000
"""Characters of an answer, times those of its schema, that are checked on the event loop. The schema refers to nothing:
then a check does less than that, because it compares each keyword with each value once."""

PER_VALUE = 2
"""Items or members of a value for each step of a keyword that visits all of them, also where its schema is empty."""

PER_COMPARED = 4
"""Values in the keyword itself for each step, where the keyword compares with all of them."""

PER_WRITTEN = 64
"""Characters for each step that the library writes, such as a message that quotes the value."""

UNCHECKED = frozenset({"pattern", "format", "contentEncoding", "contentMediaType"})
"""Keywords that are not checked. The first is a regular expression of the client."""

REFUSED: Mapping[str, str] = {
    "patternProperties": "a regular expression of a client is not run",
    "unevaluatedProperties": "use `additionalProperties`",
    "unevaluatedItems": "use `items`",
    "$dynamicRef": "use `$ref`",
    "$recursiveRef": "use `$ref`",
    "$id": "use `$ref` with a path in the schema",
    "$anchor": "use `$ref` with a path in the schema",
    "$dynamicAnchor": "use `$ref` with a path in the schema",
}
"""Keywords that are not accepted -> why, or what to use instead. No check runs them."""

VISITING = frozenset({"items", "contains", "additionalProperties", "propertyNames", "uniqueItems"})
"""Keywords that visit every item or member of a value."""

COMPARED = frozenset({"const", "enum", "required", "dependentRequired"})
"""Keywords whose own values are compared, at any depth."""

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
        return len(text) * len(schema) <= MOST_HERE and '"$ref"' not in schema

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
        # Late, as below.
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        steps = _steps.set(_Steps(MOST_STEPS, pulse))
        try:
            # A registry of its own: that of the library fetches the addresses of a schema.
            problem = next(_validator_class()(dict(self.schema), registry=Registry()).iter_errors(value), None)
        except (_TooMuch, RecursionError):
            raise Unfit("it takes too long to compare it with its schema") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, Unresolvable):
            # The library fails at some numbers. Not every exception: a pulse may raise one to stop the check.
            raise Unfit("it cannot be compared with its schema") from None
        finally:
            _steps.reset(steps)
        if problem is not None:
            raise Unfit(_described(problem))


@dataclass(slots=True)
class _Steps:
    """How much work a check may still do."""

    left: int
    pulse: Pulse
    _sizes: dict[int, int] = field(default_factory=dict)

    def size(self, value: Any) -> int:
        """How many values there are in a value of the schema, at any depth. The schema outlives these steps."""
        if (known := self._sizes.get(id(value))) is None:
            known = self._sizes[id(value)] = _size(value)
        return known

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

    left_out = UNCHECKED | REFUSED.keys()
    known = {
        name: _counted(name, function)
        for name, function in Draft202012Validator.VALIDATORS.items()
        if name not in left_out
    }
    known["uniqueItems"] = _counted("uniqueItems", _unique_items)
    return validators.create(
        meta_schema=Draft202012Validator.META_SCHEMA,
        validators=known,
        type_checker=Draft202012Validator.TYPE_CHECKER,
        id_of=lambda schema: "",
    )


def _counted(name: str, function: Any) -> Any:
    least = PER_REFERENCE if name == "$ref" else 1

    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        steps, count = _steps.get(), least
        if isinstance(value, list | dict):
            count += steps.size(value) // PER_COMPARED if name in COMPARED else len(value) // 8
        if name in VISITING and isinstance(instance, list | dict):
            count += len(instance) // PER_VALUE
        steps.take(count)
        for problem in function(validator, value, instance, schema) or ():
            # The library quotes the value in the message of each keyword that it does not fit. Nobody reads it.
            steps.take(len(problem.message) // PER_WRITTEN)
            problem.message = ""
            yield problem

    return checked


def _size(value: Any) -> int:
    count, unread = 0, [value]
    while unread:
        one = unread.pop()
        count += 1
        unread += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return count


def _unique_items(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """The library compares each item with each other one."""
    from jsonschema import ValidationError

    if value and isinstance(instance, list):
        written = set()
        for one in instance:
            text = json.dumps(one, sort_keys=True)
            _steps.get().take(len(text) // PER_WRITTEN)
            written.add(text)
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
