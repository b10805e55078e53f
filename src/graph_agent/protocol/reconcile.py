"""Recognizes the history that a client resends, so that a stored conversation gets only what is new."""

from collections.abc import Iterable, Mapping, Sequence

from graph_agent.protocol.fingerprints import Fingerprints, TextReader, Texts
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.questions import asks, is_of_assistant


def texts_with(texts: Texts, items: Iterable[Item], *, pulse: Pulse = no_pulse) -> Texts:
    """The texts of a conversation that continues with these items."""
    reader = TextReader(texts, pulse=pulse)
    for item in items:
        reader.read(item)
    return reader.texts


def fingerprints_after(texts: Texts, output: Iterable[Item], *, pulse: Pulse = no_pulse) -> Fingerprints | None:
    """The fingerprints at the end of a response with this output. `None` if the output has nothing of the assistant."""
    reader = TextReader(texts, pulse=pulse)
    for item in output:
        reader.read(item)
    return reader.fingerprints


def begins_a_turn(items: Iterable[Item]) -> bool:
    """Whether somebody else speaks before the assistant does."""
    for item in items:
        if item["type"] == "message":
            return not is_of_assistant(item) and asks(item)
    return False


def unanswered_calls(output: Sequence[Item]) -> Mapping[str, str]:
    """The calls of a response that its client has to answer: call id -> tool."""
    answered = {item["call_id"] for item in output if item["type"] == "function_call_output"}
    calls = (item for item in output if item["type"] == "function_call")
    return {call["call_id"]: call["name"] for call in calls if call["call_id"] not in answered}
