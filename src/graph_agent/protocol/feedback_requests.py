"""Reads the body of a person's feedback on a response. As in a run's request, no field is ignored silently."""

from dataclasses import dataclass
from typing import Any

from graph_agent.protocol.field_checks import (
    Field,
    Fields,
    a_boolean,
    a_name,
    accepts,
    check_fields,
    text_within,
    wrong,
)
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields, redacted

LONGEST_COMMENT = 4000
"""Characters of a comment."""

LONGEST_NAME = 250
"""Characters of a name: MLflow's limit."""

NAME = "user_feedback"
"""The name of feedback that says none."""


@accepts({"type": "string", "minLength": 1, "maxLength": LONGEST_NAME})
def _a_name(value: Any, path: str) -> None:
    a_name(value, path)
    if len(value) > LONGEST_NAME:
        raise wrong(path, f"a name of at most {LONGEST_NAME} characters", f"{len(value)}")


FEEDBACK: Fields = {
    "value": Field(
        a_boolean, "Whether the answer was good.", required="send true for a good answer, and false for a bad one"
    ),
    "comment": Field(text_within(LONGEST_COMMENT, blank=True), "What the person says about the answer."),
    "name": Field(_a_name, f"What is judged. Without it, `{NAME}`. The same name again replaces what was said."),
}
"""The body of `POST /responses/{id}/feedback`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFeedback:
    """What a person says about a response."""

    value: bool
    comment: str | None = None
    name: str = NAME


def parse_feedback(body: bytes, *, pulse: Pulse = no_pulse) -> NewFeedback:
    """The feedback, without secrets.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    fields = redacted(body_fields(body, pulse), pulse)
    check_fields(fields, FEEDBACK)
    comment, called = fields.get("comment"), fields.get("name")
    return NewFeedback(value=fields["value"], comment=comment or None, name=called or NAME)
