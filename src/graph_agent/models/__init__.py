"""Chat models by name: they connect on first use, act for whoever asks, and fail with typed errors in bounded time."""

from graph_agent.models.deferred import DeferredChatModel, chat_model, stream_chunks

__all__ = ["DeferredChatModel", "chat_model", "stream_chunks"]
