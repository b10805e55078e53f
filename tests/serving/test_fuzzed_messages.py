"""Messages that are mutated at random get an answer that is described, over the WebSocket, AG-UI and MCP."""

from tests.serving.fuzzing_messages import fuzzed_messages


def test_mutated_messages_get_answers_that_are_described() -> None:
    # `make fuzz` sends thousands.
    found = fuzzed_messages(messages=60, seed=3)
    assert found.wrong == {}, str(found)
    assert found.sent >= 180
    # Without these, nothing has run, and so nothing was tried.
    assert "200" in found.of("AG-UI")
    assert {"200", "202"} <= found.of("MCP")
    assert {"response.completed", "response.failed", "error 400"} <= found.of("WebSocket")
