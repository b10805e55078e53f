"""Test doubles for graphs and for services: a scripted chat model, a fake workspace, and an in-process client.

They need nothing beyond graph-agent's own dependencies. See `docs/testing.md`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_agent.testing.asgi import StreamingTransport
    from graph_agent.testing.chat_model import ModelRequest, ScriptedChatModel
    from graph_agent.testing.client import AgentClient, EventStream, SyncAgentClient
    from graph_agent.testing.errors import BadScript, RequestRefused, ScriptError, ScriptExhausted, StreamCut
    from graph_agent.testing.loopback import on_loopback
    from graph_agent.testing.recording import Recorded, Recording, Stall
    from graph_agent.testing.script import Blocks, Call, Finish, Reasoning, Usage, Wait
    from graph_agent.testing.workspace import FakeWorkspace

__all__ = [
    "AgentClient",
    "BadScript",
    "Blocks",
    "Call",
    "EventStream",
    "FakeWorkspace",
    "Finish",
    "ModelRequest",
    "Reasoning",
    "Recorded",
    "Recording",
    "RequestRefused",
    "ScriptError",
    "ScriptExhausted",
    "ScriptedChatModel",
    "Stall",
    "StreamCut",
    "StreamingTransport",
    "SyncAgentClient",
    "Usage",
    "Wait",
    "on_loopback",
]

_MODULES = {
    "asgi": ("StreamingTransport",),
    "chat_model": ("ModelRequest", "ScriptedChatModel"),
    "client": ("AgentClient", "EventStream", "SyncAgentClient"),
    "errors": ("BadScript", "RequestRefused", "ScriptError", "ScriptExhausted", "StreamCut"),
    "loopback": ("on_loopback",),
    "recording": ("Recorded", "Recording", "Stall"),
    "script": ("Blocks", "Call", "Finish", "Reasoning", "Usage", "Wait"),
    "workspace": ("FakeWorkspace",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Late, so that a test that needs only the client does not import LangChain, and the other way round.
    if name not in _HOMES:
        raise AttributeError(f"module 'graph_agent.testing' has no attribute {name!r}")
    return getattr(import_module(f"graph_agent.testing.{_HOMES[name]}"), name)
