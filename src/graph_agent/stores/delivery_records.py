"""What a store keeps of a webhook that is to be sent."""

from dataclasses import dataclass

from graph_agent.identity.owner import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one target, which one process now sends."""

    owner: Owner
    response: str
    """The id of the response that has ended."""

    id: str
    """The id of the message. It is the same at each try."""

    target: str
    """The name of the target in the operator's file."""

    type: str
    """What happened, such as `response.completed`."""

    created_at: float
    """When it happened, in seconds since 1970 by the clock of the database."""

    age: float
    """Seconds since then."""

    tries: int
    """How often it was claimed, with this time. It is also the right to say what became of it."""
