"""How LangGraph's savers write values into checkpoints, and which of our types they make again when they read one."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

OUR_TYPES = (("graph_agent.contract", "Source"),)
"""Types of this package that occur in the state of a graph."""

NAMED_AT = 2
"""Where the name of the module begins in an encoded object: after the heads of an array and of a short text."""


@cache
def checkpoint_serializer() -> "JsonPlusSerializer":
    """The serializer of all runs. It knows our types, and treats all others as LangGraph does by default.

    A list of allowed types would forbid those of other people's graphs; without a list, LangGraph warns of every type,
    also of ours.
    """
    from langgraph.checkpoint.serde._msgpack import STRICT_MSGPACK_ENABLED
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    with_ours = JsonPlusSerializer(allowed_msgpack_modules=OUR_TYPES)
    if STRICT_MSGPACK_ENABLED:
        return with_ours
    known, others = with_ours._unpack_ext_hook, JsonPlusSerializer()._unpack_ext_hook
    modules = tuple(module.encode() for module, _ in OUR_TYPES)

    def unpack(code: int, data: bytes) -> Any:
        hook = known if bytes(data[:64]).startswith(modules, NAMED_AT) else others
        return hook(code, data)

    return JsonPlusSerializer(__unpack_ext_hook__=unpack)
