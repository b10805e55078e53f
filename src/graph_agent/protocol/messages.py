"""Responses items <-> LangChain messages, both ways, lossless."""

from graph_agent.protocol.content import annotations_of, output_text, reasoning_of, text_of

__all__ = ["annotations_of", "output_text", "reasoning_of", "text_of"]
