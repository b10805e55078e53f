"""Reads the body of a person's feedback on a response. As in a run's request, no field is ignored silently."""

from dataclasses import dataclass

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import a_boolean, a_name, a_string, shown, wrong
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields, redacted

LONGEST_COMMENT = 4000
"""Characters of a comment."""

LONGEST_NAME = 250
"""Characters of a name: MLflow's limit."""

NAME = "user_feedback"
"""The name of feedback that says none."""

FIELDS = ("value", "comment", "name")


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
    for name in fields:
        if name not in FIELDS:
            known = ", ".join(FIELDS)
            raise InvalidRequest(f"`{shown(name)}` is not a field of this address; it has {known}.", param=shown(name))
    if "value" not in fields:
        raise InvalidRequest("`value` is missing: send true for a good answer, and false for a bad one.", param="value")
    a_boolean(fields["value"], "value")
    comment, called = fields.get("comment"), fields.get("name", NAME)
    if comment is not None:
        a_string(comment, "comment")
        if len(comment) > LONGEST_COMMENT:
            raise wrong("comment", f"a text of at most {LONGEST_COMMENT} characters", f"{len(comment)}")
    a_name(called, "name")
    if len(called) > LONGEST_NAME:
        raise wrong("name", f"a name of at most {LONGEST_NAME} characters", f"{len(called)}")
    return NewFeedback(value=fields["value"], comment=comment or None, name=called)
