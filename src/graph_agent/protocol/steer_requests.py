"""Reads the body of a request that steers a response. As in a run's request, no field is ignored silently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.digests import digest_of
from graph_agent.protocol.field_checks import Fields, at, check_fields, shown
from graph_agent.protocol.item_ids import with_own_ids
from graph_agent.protocol.item_shapes import Item, check_item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.messages import messages_of
from graph_agent.protocol.request_bodies import body_fields, redacted
from graph_agent.protocol.steer_fields import MESSAGE_FIELDS, PARTS, STEER


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerInput:
    """Messages of a user for a response in progress."""

    items: Sequence[Item]
    """The messages, each with an id of its own."""

    digest: str
    """Identifies what was sent."""


def parse_steer(body: bytes, *, pulse: Pulse = no_pulse) -> SteerInput:
    """Read the body of `POST /responses/{id}/steer`, without secrets.

    Raises:
        InvalidRequest: the body is wrong; `param` names the field.
    """
    return read_steer(body_fields(body, pulse), pulse=pulse)


def read_steer(sent: Mapping[str, Any], *, known: Fields = STEER, pulse: Pulse = no_pulse) -> SteerInput:
    """As `parse_steer`, for the fields of a body that was read, or of a message with the fields `known`."""
    fields = redacted(sent, pulse)
    check_fields(fields, known)
    given = fields["input"]
    if isinstance(given, str):
        items = [{"type": "message", "role": "user", "content": given}]
    else:
        items = [_message(one, at("input", index), pulse) for index, one in enumerate(given)]
    # Says what is wrong with a message before it is accepted: the run makes the same of it.
    messages_of(items, pulse=pulse)
    return SteerInput(items=with_own_ids(items, pulse=pulse), digest=digest_of(fields, pulse))


def _message(value: Any, path: str, pulse: Pulse) -> Item:
    pulse()
    item = check_item(value, path)
    if item["type"] != "message" or item["role"] != "user":
        raise InvalidRequest(
            f"`{path}` must be a message of the role user: a response in progress takes no other items.", param=path
        )
    for name in item:
        if name not in MESSAGE_FIELDS:
            field = at(path, name)
            raise InvalidRequest(
                f"`{field}` is not a field of such a message; it has type, role and content.", param=field
            )
    if isinstance(item["content"], list):
        for index, part in enumerate(item["content"]):
            if part["type"] not in PARTS:
                field = f"{path}.content[{index}].type"
                raise InvalidRequest(
                    f"`{field}` must be {', '.join(PARTS[:-1])} or {PARTS[-1]}; got {shown(part['type'])}.", param=field
                )
    return {"type": "message", "role": "user", "content": item["content"]}
