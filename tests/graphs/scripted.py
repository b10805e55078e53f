"""The scripted model as the graphs of these tests use it."""

from typing import Any

from graph_agent.testing import ScriptedChatModel


def says(*turns: Any, **fields: Any) -> ScriptedChatModel:
    """A model that starts these replies again with each user message, so that a graph can be asked often."""
    return ScriptedChatModel(*turns, each_turn=True, **fields)
