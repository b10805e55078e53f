"""How much of a long conversation a model sees: its newest turns, within a number of tokens."""

from collections.abc import Sequence
from typing import Any

from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, trim_messages
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable, RunnableConfig

from graph_agent.app_context import PerApp, current_settings
from graph_agent.errors import ConfigurationError, ModelContextExceeded
from graph_agent.model_options import TRUNCATION, WHOLE, current_model_options
from graph_agent.newest_turn import start_of_newest_turn
from graph_agent.summaries import is_summary
from graph_agent.tracing import LEFT_OUT

SHARE = 0.75
"""The share of a model's known window that the conversation may fill. The rest is for the prompt, the tools and the
answer, and for languages of which a token holds fewer characters than LangChain's count assumes."""

MOST_BEFORE_SUMMARY = 256
"""The messages among which a summary of earlier ones is looked for: it stands near the beginning of what is left."""


class History:
    """Asks one model with as much of the conversation as it can read.

    The limit is `tokens`, else `GRAPH_AGENT_HISTORY_TOKENS`, else what the model says about its window. If a model says
    nothing, it is asked with everything. A model that refuses the conversation as too long is asked again with half of
    it, and what it then accepts is the limit from then on.

    A request with `truncation: disabled` has the model asked with everything, once.
    """

    def __init__(self, model: BaseChatModel, tokens: int | None = None) -> None:
        if tokens is not None and tokens < 1:
            raise ConfigurationError("history is a number of tokens above 0")
        self._model = model
        self._tokens = tokens
        # Apps may use different models.
        self._learned: PerApp[_Learned] = PerApp(_Learned)

    async def ask(
        self,
        asked: Runnable[Any, AIMessage],
        prompt: str,
        messages: Sequence[BaseMessage],
        *,
        config: RunnableConfig | None = None,
    ) -> AIMessage:
        """The reply to the prompt and the newest messages.

        Raises:
            ModelContextExceeded: the newest turn alone is too long for the model, or the request wants all of them.
        """
        options = current_model_options()
        whole = options.values.get(TRUNCATION) == WHOLE
        options.reached(TRUNCATION)
        limit = None if whole else self._limit()
        shown = newest(messages, limit)
        refused = False
        while True:
            try:
                reply = await asked.ainvoke(
                    [SystemMessage(prompt), *shown], _noting(config, len(messages) - len(shown))
                )
            except (ModelContextExceeded, ContextOverflowError):
                if whole:
                    raise
                limit = count_tokens_approximately(shown) // 2
                shorter = newest(messages, limit)
                if len(shorter) == len(shown):
                    raise
                shown, refused = shorter, True
                continue
            if refused:
                self._learned().tokens = count_tokens_approximately(shown)
            return reply

    def _limit(self) -> int | None:
        known = [self._tokens or current_settings().history_tokens or _window_of(self._model), self._learned().tokens]
        return min((one for one in known if one), default=None)


class _Learned:
    """What a model has accepted after it refused more."""

    tokens: int | None = None


def newest(messages: Sequence[BaseMessage], tokens: int | None) -> list[BaseMessage]:
    """The newest turns of the conversation within that many tokens.

    System messages, a summary of what came before, and the newest turn are always among them. A turn is there with all
    of its calls and results, or not at all.
    """
    start = start_of_newest_turn(messages)
    first = next((place for place, one in enumerate(messages[:start]) if not _is_always_shown(one)), start)
    if tokens is None or first == start:
        return list(messages)
    left = tokens - count_tokens_approximately([*messages[:first], *messages[start:]])
    place = start
    # Counted from the end, so that a long conversation costs no more than what is shown of it.
    while place > first and left >= 0:
        place -= 1
        left -= count_tokens_approximately([messages[place]])
    if left >= 0:
        return list(messages)
    kept = trim_messages(
        messages[place + 1 : start],
        max_tokens=tokens,
        token_counter=count_tokens_approximately,
        strategy="last",
        start_on="human",
        allow_partial=False,
    )
    left_out = messages[: start - len(kept)]
    # Their types first, which is quick: hardly any conversation has such a message in its middle.
    kinds = set(map(type, left_out))
    always = [one for one in left_out if _is_always_shown(one)] if _has_system(kinds) else []
    if not always:
        always = [one for one in left_out[:MOST_BEFORE_SUMMARY] if is_summary(one)]
    return [*always, *kept, *messages[start:]]


def _is_always_shown(message: BaseMessage) -> bool:
    return isinstance(message, SystemMessage) or is_summary(message)


def _has_system(kinds: set[type]) -> bool:
    return any(issubclass(kind, SystemMessage) for kind in kinds)


def _window_of(model: BaseChatModel) -> int | None:
    tokens = (model.profile or {}).get("max_input_tokens")
    return int(tokens * SHARE) if tokens else None


def _noting(config: RunnableConfig | None, left_out: int) -> RunnableConfig:
    """The config of a call whose trace says how many messages of the conversation the model does not see."""
    noted: RunnableConfig = {**(config or {})}
    if left_out:
        noted["metadata"] = {**noted.get("metadata", {}), LEFT_OUT: left_out}
    return noted
