"""Reads the body of a change to a memory. As in a run's request, no field is ignored silently."""

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.field_checks import a_string, shown, wrong
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.request_bodies import body_fields, redacted

LONGEST_MEMORY = 4000
"""Characters of a memory's text."""


def parse_memory_change(body: bytes, *, pulse: Pulse = no_pulse) -> str:
    """The new text of a memory, without secrets.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    fields = redacted(body_fields(body, pulse), pulse)
    for name in fields:
        if name != "text":
            raise InvalidRequest(f"`{shown(name)}` is not a field of this address; it has text.", param=shown(name))
    if "text" not in fields:
        raise InvalidRequest("`text` is missing: send the new text of the memory.", param="text")
    text: str = fields["text"]
    a_string(text, "text")
    if not text.strip() or len(text) > LONGEST_MEMORY:
        got = f"{len(text)}" if text.strip() else "none"
        raise wrong("text", f"a text of at most {LONGEST_MEMORY} characters", got)
    return text
