"""Whether passages answer a question. The model decides it in a separate call, as a small model never declines."""

from collections.abc import Sequence

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

# These prompts are measured with small models: `make eval` shows the effect of a changed word.
ROLE = "You check whether documentation answers a question."

BEFORE = """The conversation before the question, which may say what it is about:
{conversation}"""

REQUEST = """Passages:
{passages}

Question: {question}
Some questions cannot be answered from these passages. Do they state the answer to this one? Reply no or yes."""

MOST_EARLIER = 6
"""How many of the last messages of the conversation the model sees."""

LONGEST_EARLIER = 300
"""Characters of each: enough to show the topic."""


async def is_answerable(
    question: str, passages: str, *, model: BaseChatModel, earlier: Sequence[BaseMessage] = ()
) -> bool:
    """Whether `model` says that the passages contain the answer. Anything but a clear no counts as yes.

    `earlier` is the conversation before the question, without which "And how long?" has no meaning. The call is tagged
    `nostream`, as its output is not part of the answer.
    """
    conversation = "\n".join(_lines(earlier))
    role = f"{ROLE}\n\n{BEFORE.format(conversation=conversation)}" if conversation else ROLE
    request = REQUEST.format(passages=passages, question=question)
    reply = await model.ainvoke([SystemMessage(role), HumanMessage(request)], {"tags": ["nostream"]}, max_tokens=4)
    return not reply.text.strip().lower().startswith("no")


def _lines(earlier: Sequence[BaseMessage]) -> list[str]:
    """Messages of users and models, one line each. Tool results are left out, as they would fill the context window."""
    lines = [
        f"{'User' if isinstance(one, HumanMessage) else 'Assistant'}: {_short(text)}"
        for one in earlier
        if isinstance(one, HumanMessage | AIMessage) and (text := " ".join(one.text.split()))
    ]
    return lines[-MOST_EARLIER:]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_EARLIER else f"{text[:LONGEST_EARLIER]}…"
