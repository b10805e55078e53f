"""Citations: `[2]` in an answer, checked against what was retrieved."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

from graph_agent.contract import Source
from graph_agent.models import stream_chunks

# A marker has at most 64 characters between its brackets, for two reasons. Matching stays linear in the text, and a
# marker that arrives in pieces is recognized exactly when the same marker in one piece is.
MARKER = re.compile(r" ?\[(?=[\d,\s]{1,64}\])(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_NUMBER = re.compile(r"\d+")
_LIKE_A_MARKER = re.compile(r"(?<![\w\])])\[(\s{0,4}\d{1,6}(?:\s{0,4},\s{0,4}\d{1,6}){0,20}\s{0,4})\]")
# At most 64 characters are held back, so that a bracket which is never closed does not stop the stream.
_UNFINISHED = re.compile(r" ?(?:\[[\d,\s]{0,64})?$")
_OPEN = re.compile(r"\[[\d,\s]{0,64}$")
_WORD = re.compile(r"[A-Za-z0-9_]{3,}")

SUPPORT = 0.5
"""Share of an answer's words that a passage must contain to be cited for an answer without citations."""

WITHOUT_NUMBERS = 0.5
"""The most that a passage can hold of a sentence with a number which the passage lacks."""

LONGEST_CLAIM = 1_000
"""Characters before a marker in which its sentence is looked for."""

_LETTERS = re.compile(r"[^\W\d_]{2,}")
_DIGITS = re.compile(r"\d[\d,.]{0,40}")
# Not at the end of the text: in "It is 8000. [1]" the sentence before the marker counts.
_SENTENCE_END = re.compile(r"[.!?]\s+(?=\S)|[\u3002\uff01\uff1f](?=\S)|\n+(?=\S)")


class MarkerFilter:
    """Removes markers of passages that do not exist from streamed text. Delays only text that may become a marker."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = frozenset(numbers)
        self._held = ""
        self._open = ""
        """The end of the text already shown, if it is the beginning of a marker."""

    def feed(self, text: str) -> str:
        """The text that can be shown now."""
        text = self._held + text
        match = _UNFINISHED.search(text)
        cut = match.start() if match else len(text)
        self._held = text[cut:]
        return self._checked(text[:cut])

    def finish(self) -> str:
        """The text that was still held back."""
        rest, self._held = self._held, ""
        return self._checked(rest)

    def _checked(self, text: str) -> str:
        # Without its inner marker, `[9[9]]` would read `[9]`. A space keeps that from being a marker: `[9 ]`.
        text = MARKER.sub(self._spaced, self._open + MARKER.sub(self._kept, text))
        shown = text[len(self._open) :]
        match = _OPEN.search(text)
        self._open = match[0] if match else ""
        return shown

    def _kept(self, match: re.Match[str]) -> str:
        numbers = [number for number in _NUMBER.findall(match[1]) if int(number) in self._numbers]
        space = " " if match[0].startswith(" ") else ""
        return f"{space}[{', '.join(numbers)}]" if numbers else ""

    def _spaced(self, match: re.Match[str]) -> str:
        known = all(int(number) in self._numbers for number in _NUMBER.findall(match[1]))
        return match[0] if known else f"{match[0][:-1]} ]"


class CheckedCitations(BaseChatModel):
    """A chat model that never streams a citation of a passage outside `numbers`."""

    model: BaseChatModel
    numbers: tuple[int, ...]

    @property
    def _llm_type(self) -> str:
        return self.model._llm_type

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.model._get_ls_params(stop, **kwargs)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools in the form of the inner model."""
        # Bound to this model, as binding them to the inner one would bypass the filter.
        bound: Any = self.model.bind_tools(tools, **kwargs)
        return self.bind(**bound.kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        markers = MarkerFilter(self.numbers)
        last: ChatGenerationChunk | None = None
        async for chunk in stream_chunks(self.model, messages, stop, kwargs):
            last = chunk
            if isinstance(chunk.message.content, str) and chunk.message.content:
                shown = markers.feed(chunk.message.content)
                chunk = ChatGenerationChunk(
                    message=chunk.message.model_copy(update={"content": shown}), generation_info=chunk.generation_info
                )
            yield chunk
        # With the id of the last chunk, as the text belongs to the same message.
        if last is not None and (rest := markers.finish()):
            yield ChatGenerationChunk(message=AIMessageChunk(content=rest, id=last.message.id))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("the planner is asynchronous: run the graph with `ainvoke` or `astream`")


@dataclass(frozen=True, slots=True)
class Citation:
    """One passage cited at one place. Offsets are in characters."""

    source: Source
    start: int
    end: int

    def annotation(self) -> dict[str, Any]:
        """The citation in LangChain's form."""
        return {
            "type": "citation",
            "url": self.source.doc_uri,
            "title": self.source.title,
            "start_index": self.start,
            "end_index": self.end,
        }


def citations_in(text: str, sources: Sequence[Source]) -> list[Citation]:
    """The citations in `text`, one for each number in a marker.

    An answer without markers gets one citation at its end, of the passage with most of its words. Small models often
    answer from a passage without citing it.
    """
    by_number = {source.number: source for source in sources}
    # A citation begins at the bracket; the marker may include a space before it.
    found = [
        Citation(by_number[int(number)], match.start() + match[0].index("["), match.end())
        for match in MARKER.finditer(text)
        for number in _NUMBER.findall(match[1])
        if int(number) in by_number
    ]
    if found or not text:
        return found
    best = max(sources, key=lambda source: support(text, source), default=None)
    if best is None or support(text, best) < SUPPORT:
        return []
    return [Citation(best, len(text), len(text))]


def held(citation: Citation, text: str) -> float:
    """How far the cited passage holds the sentence before the marker: the share of its words that it contains, 0 to 1.

    At most `WITHOUT_NUMBERS` if the passage lacks one of the sentence's numbers. A sentence without words is held.
    """
    passage = f"{citation.source.title} {citation.source.text}"
    claim = text if citation.start == citation.end else _claim_before(text, citation.start)
    words = _letters_of(claim)
    share = len(words & _letters_of(passage)) / len(words) if words else 1.0
    return share if _numbers_in(claim) <= _numbers_in(passage) else min(share, WITHOUT_NUMBERS)


def _claim_before(text: str, at: int) -> str:
    """The sentence that ends where a marker begins. Other markers in it are no part of it."""
    before = MARKER.sub("", text[max(0, at - LONGEST_CLAIM) : at]).rstrip()
    ends = [match.end() for match in _SENTENCE_END.finditer(before)]
    return before[ends[-1] :] if ends else before


def _letters_of(text: str) -> set[str]:
    """Words of three letters or more; pairs of letters where words have no spaces between them."""
    found: set[str] = set()
    for word in _LETTERS.findall(text.casefold()):
        if word[0] >= "\u2e80":
            found.update(word[at : at + 2] for at in range(len(word) - 1))
        elif len(word) > 2:
            found.add(word)
    return found


def _numbers_in(text: str) -> set[str]:
    # 4,096 and 4096 are the same number.
    return {number.replace(",", "").rstrip(".") for number in _DIGITS.findall(text)}


def citation_annotations(text: str, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The citations in `text` as LangChain's annotations."""
    return [citation.annotation() for citation in citations_in(text, sources)]


def without_markers(passage: str) -> str:
    """The passage with everything that looks like a citation, such as `[2]`, in round brackets.

    Otherwise the model would read a line of the passage that begins with `[2]` as passage 2. An index such as `a[2]`
    does not change.
    """
    return _LIKE_A_MARKER.sub(r"(\1)", passage)


def support(text: str, source: Source) -> float:
    """The share of the text's words that occur in the passage, 0 to 1."""
    words = _words(text)
    return len(words & _words(f"{source.title} {source.text}")) / len(words) if words else 0.0


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
