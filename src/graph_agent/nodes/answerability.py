"""Whether passages answer a question: asked of the model apart from the answer, as a small one never declines."""

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

ROLE = "You check whether documentation answers a question."

BEFORE = """The conversation before the question, which may say what it is about:
{conversation}"""

REQUEST = """Passages:
{passages}

Question: {question}
Some questions cannot be answered from these passages. Do they state the answer to this one? Reply no or yes."""

MOST_EARLIER = 6
"""Messages of the conversation that are told, the last ones."""

LONGEST_EARLIER = 300
"""Characters of each: enough to know what it is about."""


async def is_answerable(
    question: str, passages: str, *, model: BaseChatModel, earlier: Sequence[BaseMessage] = ()
) -> bool:
    """Whether `model` says that the passages state the answer; anything but a clear no counts as yes.

    `earlier` is the conversation before the question: "And how long?" says nothing without it. The call is tagged
    `nostream`: its word is nobody's answer.
    """
    conversation = "\n".join(_told(earlier))
    role = f"{ROLE}\n\n{BEFORE.format(conversation=conversation)}" if conversation else ROLE
    request = REQUEST.format(passages=passages, question=question)
    said = await model.ainvoke([SystemMessage(role), HumanMessage(request)], {"tags": ["nostream"]}, max_tokens=4)
    return not said.text.strip().lower().startswith("no")


def _told(earlier: Sequence[BaseMessage]) -> list[str]:
    """What people and models said, one line each; results of tools would fill the window."""
    lines = [
        f"{'User' if isinstance(one, HumanMessage) else 'Assistant'}: {_short(text)}"
        for one in earlier
        if isinstance(one, HumanMessage | AIMessage) and (text := " ".join(one.text.split()))
    ]
    return lines[-MOST_EARLIER:]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_EARLIER else f"{text[:LONGEST_EARLIER]}…"
