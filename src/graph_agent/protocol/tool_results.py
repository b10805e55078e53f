"""The public text of a tool's result."""

from langchain_core.messages import ToolMessage

from graph_agent.contract import NOT_RUN, PUBLIC_ERROR
from graph_agent.protocol.content import output_text
from graph_agent.redaction import redact


def public_text(message: ToolMessage, name: str | None = None) -> str:
    """The result without secrets. The text of an error is only for the model, because it may quote any exception."""
    text = output_text(message)
    if message.status != "error":
        return redact(text)
    public = message.additional_kwargs.get(PUBLIC_ERROR)
    if not public and NOT_RUN in text:
        # A `ToolNode` may add text of its own around it.
        public = text[text.index(NOT_RUN) :].partition("\n")[0]
    if not public:
        return f"the tool {name or message.name or 'called'!r} failed"
    return redact(public if isinstance(public, str) else text)
