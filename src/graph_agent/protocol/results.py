"""What the caller reads of a tool's result."""

from langchain_core.messages import ToolMessage

from graph_agent.contract import NOT_RUN, PUBLIC_ERROR
from graph_agent.protocol.content import output_text
from graph_agent.redaction import redact


def public_text(message: ToolMessage, name: str | None = None) -> str:
    """The result, secrets left out. The text of an error may quote any exception, and that is meant for the model."""
    text = output_text(message)
    public = message.additional_kwargs.get(PUBLIC_ERROR) or text.startswith(NOT_RUN)
    if message.status == "error" and not public:
        return f"the tool {name or message.name or 'called'!r} failed"
    return redact(public if message.status == "error" and isinstance(public, str) else text)
