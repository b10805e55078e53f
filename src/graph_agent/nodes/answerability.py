"""Whether passages answer a question, and what is asked to answer from them.

The model decides in a separate call, as a small model never declines. Both requests begin alike, up to the question. So
an endpoint that keeps what it has read, such as the local model, reads the passages once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

# These prompts are measured with small models: `make eval` shows the effect of a changed word.
ROLE = "You check whether documentation answers a question."

BEFORE = """The conversation before the question, which may say what it is about:
{conversation}"""

EVIDENCE = """Passages:
{passages}

Question: {question}
"""

REQUEST = (
    "Some questions cannot be answered from these passages. Do they state the answer to this one? Reply no or yes."
)

ANSWERING = "You answer questions from passages of documentation."
"""The role of a model that is asked for the answer, too. The words of both requests begin with it."""

MOST_EARLIER = 6
"""How many of the last messages of the conversation the model sees."""

LONGEST_EARLIER = 300
"""Characters of each: enough to show the topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A question, and what a turn has found about it."""

    question: str
    passages: str

    earlier: Sequence[BaseMessage] = ()
    """The conversation before the question, without which "And how long?" has no meaning."""

    role: str = ROLE
    """What the model is, in the words of a system message."""

    @property
    def instructions(self) -> str:
        """The system message of both requests: the role, and the end of the conversation."""
        conversation = "\n".join(_lines(self.earlier))
        return f"{self.role}\n\n{BEFORE.format(conversation=conversation)}" if conversation else self.role

    def asking(self, request: str) -> str:
        """The message with the passages, the question, and behind them what to do: the last words weigh most."""
        return f"{EVIDENCE.format(passages=self.passages, question=self.question)}{request}"


async def is_answerable(evidence: Evidence, *, model: BaseChatModel) -> bool:
    """Whether `model` says that the passages contain the answer. Anything but a clear no counts as yes.

    The call is tagged `nostream`, as its output is not part of the answer.
    """
    asked = [SystemMessage(evidence.instructions), HumanMessage(evidence.asking(REQUEST))]
    reply = await model.ainvoke(asked, {"tags": ["nostream"]}, max_tokens=4)
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
