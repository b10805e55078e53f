"""Chat models by name: they connect on first use, act for the run's user, and fail with typed errors in time."""

from graph_agent.models.deferred import DeferredChatModel, chat_model, stream_chunks

__all__ = ["DeferredChatModel", "chat_model", "stream_chunks"]
