"""The local chat model: prompts, constrained decoding, and chat completion chunks."""
