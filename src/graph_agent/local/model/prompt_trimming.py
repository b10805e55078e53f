"""Trims prompts to the model's window. The oldest parts go first; the question and the instructions always stay."""

from collections.abc import Sequence

from graph_agent.local.model.chat_request import Message, text_of

OLD_RESULT = 200
"""Characters left of a tool result in an earlier turn."""

SHORTEST_RESULT = 400
"""A result of the current turn is not cut below this, because the answer depends on it."""

LONGEST_RESULT = 16_000
"""A longer result is cut to this in one step. Halving it would take many steps, each with a count of all tokens."""

MARK = "\n[shortened]"


def trim_once(messages: Sequence[Message]) -> list[Message] | None:
    """The conversation after one step of trimming, or `None` if nothing can be trimmed any more.

    The steps, in this order: shorten a result of an earlier turn, drop the oldest turn, halve the longest result of the
    current turn.
    """
    return _old_result_cut(messages) or _old_turn_dropped(messages) or _result_halved(messages)


def _old_result_cut(messages: Sequence[Message]) -> list[Message] | None:
    for index in _results(messages, until=_last_question(messages)):
        if len(text_of(messages[index]["content"])) > OLD_RESULT + len(MARK):
            return _cut(messages, index, OLD_RESULT)
    return None


def _old_turn_dropped(messages: Sequence[Message]) -> list[Message] | None:
    question = _last_question(messages)
    old = [i for i in range(question) if messages[i]["role"] not in ("system", "developer")]
    if not old:
        return None
    # A whole turn goes, up to the next user message, so that no result is left without its call.
    end = next((i for i in old[1:] if messages[i]["role"] == "user"), question)
    return [message for i, message in enumerate(messages) if i not in old or i >= end]


def _result_halved(messages: Sequence[Message]) -> list[Message] | None:
    lengths = {i: len(text_of(messages[i]["content"])) for i in _results(messages, until=len(messages))}
    longest = max(lengths, key=lambda index: lengths[index], default=None)
    if longest is None or lengths[longest] <= SHORTEST_RESULT + len(MARK):
        return None
    return _cut(messages, longest, min(max(lengths[longest] // 2, SHORTEST_RESULT), LONGEST_RESULT))


def _last_question(messages: Sequence[Message]) -> int:
    return max((i for i, message in enumerate(messages) if message["role"] == "user"), default=len(messages))


def _results(messages: Sequence[Message], *, until: int) -> list[int]:
    return [i for i in range(until) if messages[i]["role"] == "tool"]


def _cut(messages: Sequence[Message], index: int, length: int) -> list[Message]:
    content = text_of(messages[index]["content"]).removesuffix(MARK)[:length] + MARK
    return [*messages[:index], {**messages[index], "content": content}, *messages[index + 1 :]]
