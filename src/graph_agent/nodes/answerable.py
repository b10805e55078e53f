"""Whether passages answer a question: asked of the model apart from the answer, as a small one never declines."""

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage

ROLE = "You check whether documentation answers a question."

REQUEST = """Passages:
{passages}

Question: {question}
Some questions cannot be answered from these passages. Do they state the answer to this one? Reply no or yes."""


async def answerable(question: str, passages: str, *, model: BaseChatModel) -> bool:
    """Whether `model` says that the passages state the answer; anything but a clear no counts as yes.

    The call is tagged `nostream`: its word is nobody's answer.
    """
    request = REQUEST.format(passages=passages, question=question)
    said = await model.ainvoke([SystemMessage(ROLE), HumanMessage(request)], {"tags": ["nostream"]}, max_tokens=4)
    return not said.text.strip().lower().startswith("no")
