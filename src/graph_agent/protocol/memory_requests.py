"""Reads the body of a change to a memory. As in a run's request, no field is ignored silently."""

from graph_agent.protocol.field_checks import Field, Fields, check_fields, text_within
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields, redacted

LONGEST_MEMORY = 4000
"""Characters of a memory's text."""

MEMORY_CHANGE: Fields = {
    "text": Field(
        text_within(LONGEST_MEMORY), "The new text of the memory.", required="send the new text of the memory"
    ),
}
"""The body of `PATCH /memories/{id}`."""


def parse_memory_change(body: bytes, *, pulse: Pulse = no_pulse) -> str:
    """The new text of a memory, without secrets.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    fields = redacted(body_fields(body, pulse), pulse)
    check_fields(fields, MEMORY_CHANGE)
    text: str = fields["text"]
    return text
