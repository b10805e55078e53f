"""Converts the arguments of LangChain's callbacks to parts of a span."""

from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from langgraph.errors import GraphBubbleUp

from graph_agent.tracing.records import SpanRecord

CHAT_TOOLS = "mlflow.chat.tools"
CHAT_USAGE = "mlflow.chat.tokenUsage"
MODEL = "mlflow.llm.model"
PROVIDER = "mlflow.llm.provider"

LEFT_OUT = "graph_agent.messages_left_out"
"""A key in the metadata of a model's call, and an attribute of its span: how many messages of the conversation were not
shown to the model."""

STATUS = "graph_agent.status"
"""An attribute of the root: how the run ended."""

CHAT_FORM = {"mlflow.message.format": "openai"}
"""Makes MLflow's pages show a span as a conversation. The span's inputs and outputs have the form of the chat
completions API."""


def reason(error: BaseException) -> str | None:
    """Why a step ended in error: the exception's type, never its message."""
    # LangGraph raises exceptions for interrupts and for commands to the parent graph. They are not failures.
    return None if isinstance(error, GraphBubbleUp) else type(error).__name__


def model_name(serialized: Mapping[str, Any] | None) -> str:
    """The span name for a model or retriever without a name."""
    described = serialized or {}
    return str(described.get("name") or (described.get("id") or ["model"])[-1])


def note_call(span: SpanRecord, metadata: Mapping[str, Any] | None, params: Mapping[str, Any] | None) -> None:
    """Record on the span which model was called, and with which tools."""
    params = params or {}
    if span.kind == "CHAT_MODEL":
        span.attributes.update(CHAT_FORM)
    if tools := params.get("tools"):
        span.attributes[CHAT_TOOLS] = tools
    if model := (metadata or {}).get("ls_model_name") or params.get("model"):
        span.attributes[MODEL] = str(model)
    if provider := (metadata or {}).get("ls_provider"):
        span.attributes[PROVIDER] = str(provider)
    if left_out := (metadata or {}).get(LEFT_OUT):
        span.attributes[LEFT_OUT] = left_out


def note_answer(span: SpanRecord, response: LLMResult) -> Any:
    """The answer of a model call as the outputs of its span. Its token usage becomes an attribute of the span."""
    generations: list[Generation] = [one for batch in response.generations for one in batch[:1]]
    if not generations:
        return None
    if not isinstance(generations[0], ChatGeneration):
        return {"choices": [{"text": one.text} for one in generations]}
    message = generations[0].message
    if isinstance(message, AIMessage) and message.usage_metadata:
        span.attributes[CHAT_USAGE] = message.usage_metadata
    return {"choices": [{"message": message}]}


def holds(span: SpanRecord, document: Document) -> bool:
    """Whether this document object is among the span's outputs."""
    return any(one is document for one in span.outputs or ())


def partial_answer(written: list[str] | None) -> Any:
    """The outputs of a model call that did not finish. `None` if it wrote no text."""
    text = "".join(written or ())
    return {"choices": [{"message": {"role": "assistant", "content": text}}]} if text else None


def documents_in(output: Any) -> list[Document]:
    """The documents that a tool returned, as its artifact or as its value. Empty if it returned anything else."""
    found = getattr(output, "artifact", None) if isinstance(output, BaseMessage) else output
    if isinstance(found, list | tuple) and found and all(isinstance(one, Document) for one in found):
        return list(found)
    return []
