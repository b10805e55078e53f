"""Whether passages answer a question, and what is asked to answer from them.

The model decides in a separate call, as a small model never declines. Both requests begin alike, up to the question. So
an endpoint that keeps what it has read, such as the local model, reads the passages once.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from graph_agent.app_context import PerApp
from graph_agent.contract import Source
from graph_agent.errors import ModelFailed
from graph_agent.models.deferred import DeferredChatModel

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


LIKELIEST = 8
"""Likeliest first tokens that are asked for: `Yes`, `No`, and other spellings of both."""

MOST_FAILURES = 3
"""After so many in a row, an endpoint is no longer asked for probabilities: a single one may have had another reason.
One that refuses such a request is not asked again either."""

LEAST_TOLD = 0.1
"""Probability of yes and no together, below which the reply is about something else and says nothing of either."""

LEAST_SURE = 0.59
"""Probability of yes from which a question is answered.

With Qwen2.5-Coder-1.5B over this project's documentation and another project's, of 20 questions just outside the
documents 17 are declined so, and 42 of 45 are answered whose facts the model was shown. By the model's word alone it is
15 and 44, and by this probability without the score 17 and 39.
"""

GOOD_SCORE = 0.5
"""The best score of the passages, from which it makes up for some doubt. A worse one adds none: a question in other
words than the passages, or in another language, has low scores although they answer it."""

SCORE_WEIGHT = 0.5
"""What a score above `GOOD_SCORE` counts, in place of probability."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A question, and what a turn has found about it."""

    question: str
    passages: str

    earlier: Sequence[BaseMessage] = ()
    """The conversation before the question, without which "And how long?" has no meaning."""

    role: str = ROLE
    """What the model is, in the words of a system message."""

    best_score: float | None = None
    """The highest score of the passages, if the search gives scores. It counts if it is from 0 to 1."""

    closest: Source | None = None
    """The passage that was found first. It need not have the highest score: several queries agree on it."""

    @property
    def instructions(self) -> str:
        """The system message of both requests: the role, and the end of the conversation."""
        conversation = "\n".join(_lines(self.earlier))
        return f"{self.role}\n\n{BEFORE.format(conversation=conversation)}" if conversation else self.role

    def asking(self, request: str) -> str:
        """The message with the passages, the question, and behind them what to do: the last words weigh most."""
        return f"{EVIDENCE.format(passages=self.passages, question=self.question)}{request}"


class AnswerCheck:
    """Asks one model whether passages answer a question.

    A small model says yes to nearly every question that is about the subject of the passages. How sure it is tells
    more. So its endpoint is asked for the probability of its words, if it knows that parameter, and a search that found
    what fits the question well makes up for some doubt.
    """

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model
        # Apps may use different models.
        self._learned: PerApp[_Learned] = PerApp(_Learned)

    async def is_answerable(self, evidence: Evidence) -> bool:
        """Whether the passages contain the answer.

        Without probabilities, anything but a clear no counts as yes. The call is tagged `nostream`, as its output is
        not part of the answer.
        """
        reply = await self._reply([SystemMessage(evidence.instructions), HumanMessage(evidence.asking(REQUEST))])
        sure = probability_of_yes(reply)
        if sure is None:
            return not reply.text.strip().lower().startswith("no")
        score = evidence.best_score
        if score is None or not 0 <= score <= 1:
            # Of a search that has none, or has its own scale, such as distances.
            return sure >= 1 / 2
        return sure + SCORE_WEIGHT * max(0.0, score - GOOD_SCORE) >= LEAST_SURE

    async def _reply(self, messages: Sequence[BaseMessage]) -> AIMessage:
        if isinstance(self._model, DeferredChatModel) and self._model.may_tell_probabilities:
            learned = self._learned()
            if learned.failures < MOST_FAILURES:
                try:
                    reply = await self._asked(messages, logprobs=True, top_logprobs=LIKELIEST)
                except ModelFailed as error:
                    # Its subclasses say that the endpoint has no time or the conversation is too long.
                    if type(error) is not ModelFailed:
                        raise
                    failures = MOST_FAILURES if error.refuses_request else 1
                else:
                    learned.failures = 0
                    return reply
                reply = await self._asked(messages)
                # It knows the rest of the request.
                learned.failures += failures
                return reply
        return await self._asked(messages)

    async def _asked(self, messages: Sequence[BaseMessage], **more: Any) -> AIMessage:
        return await self._model.ainvoke(list(messages), {"tags": ["nostream"]}, max_tokens=4, **more)


class _Learned:
    """What an endpoint has shown that it does not know."""

    failures = 0
    """How often in a row it failed with a parameter, and not without it."""


def probability_of_yes(reply: AIMessage) -> float | None:
    """How sure the model is of yes and not of no, from the first token of its reply; None if it does not say."""
    said = {"yes": 0.0, "no": 0.0}
    for word, probability in _first_words(reply.response_metadata):
        if word in said:
            said[word] += probability
    told = sum(said.values())
    return said["yes"] / told if told >= LEAST_TOLD else None


def _first_words(metadata: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The likeliest first words of a reply and their probabilities, from what endpoints call `logprobs`."""
    match metadata.get("logprobs"):
        case {"content": [{"top_logprobs": [*likeliest]}, *_]}:
            for one in likeliest:
                match one:
                    case {"token": str(token), "logprob": int() | float() as logprob}:
                        yield token.strip().casefold(), math.exp(min(logprob, 0.0))


def _lines(earlier: Sequence[BaseMessage]) -> list[str]:
    """Messages of users and models, one line each. Tool results are left out, as they would fill the context window."""
    lines = [
        f"{'User' if isinstance(one, HumanMessage) else 'Assistant'}: {short(text, LONGEST_EARLIER)}"
        for one in earlier
        if isinstance(one, HumanMessage | AIMessage) and (text := " ".join(one.text.split()))
    ]
    return lines[-MOST_EARLIER:]


def short(text: str, longest: int) -> str:
    """The beginning of a text, with a sign that it goes on."""
    return text if len(text) <= longest else f"{text[:longest]}…"
