"""Citations: `[2]` in an answer, checked against what was retrieved."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

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

CREDITED = 0.75
"""Share of a sentence's words that a passage must hold to be credited with it if it has no marker.

Measured on answers of the evals with passages of other questions: at 0.5, five times as many got a wrong citation.
"""

CREDITED_WITH_NAME = 0.5
"""The same share for a sentence with an identifier, which the passage must hold too: names are not shared by chance.

Of 53 sentences without a marker in answers of the evals, 33 get a right citation in place of 29, and 2 a wrong one as
before. With the passages of some 40 other questions for each of them, 11 citations are found in place of 9.
"""

LONGEST_CREDITED = 20_000
"""Characters of an answer, beyond which no sentence is credited, as comparing takes time."""

LONGEST_RESULTS = 200_000
"""Characters of the other tools' results, beyond which no sentence is credited for the same reason."""

SHORTEST_CLAIM = 8
"""Words of the sentence before a marker, below which it may only point at the passage: "This is stated in [1]." """

FEWEST_WORDS = 3
"""Words and numbers that such a sentence has at least. Fewer are found in many passages by chance."""

WITHOUT_NUMBERS = 0.5
"""The most that a passage can hold of a sentence with a number which the passage lacks."""

LONGEST_CLAIM = 1_000
"""Characters before a marker in which its sentence is looked for."""

_LETTERS = re.compile(r"[^\W\d_]{2,}")
_DIGITS = re.compile(r"\d[\d,.]{0,40}")
_TOKEN = re.compile(r"\w+")
# Names in code with signs inside or before them: `git:set`, `deploy-branch`, `--no-restart`.
_JOINED = re.compile(r"(?:--)?\w+(?:[:-]\w+)*")
_IN_TICKS = re.compile(r"`([^`\s]{2,64})`")
# Not at the end of the text: in "It is 8000. [1]" the sentence before the marker counts.
_SENTENCE_END = re.compile(r"[.!?]\s+(?=\S)|[\u3002\uff01\uff1f](?=\S)|\n(?=\S)")


MOST_CORRECTED = 100
"""Markers of an answer that are compared with the passages. Further ones stay as they are, as comparing takes time."""


_TICKS = re.compile(r"`+")
_FENCES = ("```", "~~~")


class _Code:
    """Whether a text ends within code so far: between backticks of a line, or in a fence."""

    def __init__(self) -> None:
        self._fence = ""
        self._begins = ""
        """How the last line begins."""
        self._after_tick = self._between_ticks = False

    def __bool__(self) -> bool:
        return bool(self._fence) or self._between_ticks

    def add(self, text: str) -> None:
        """The text goes on."""
        line, *more = text.split("\n")
        self._add_to_line(line)
        for line in more:
            self._end_line()
            self._add_to_line(line)

    def _add_to_line(self, text: str) -> None:
        if not text:
            return
        if len(self._begins) < len(_FENCES[0]):
            self._begins = (self._begins + text).lstrip()[: len(_FENCES[0])]
        if "`" in text:
            goes_on = self._after_tick and text[0] == "`"
            self._between_ticks ^= (len(_TICKS.findall(text)) - goes_on) % 2 == 1
        self._after_tick = text[-1] == "`"

    def _end_line(self) -> None:
        if self._begins in _FENCES and self._fence in ("", self._begins):
            self._fence = "" if self._fence else self._begins
        self._begins = ""
        self._after_tick = self._between_ticks = False


class MarkerFilter:
    """Removes markers of passages that do not exist from streamed text. Delays only text that may become a marker.

    With `sources`, a marker gets the number of the passage that holds the sentence before it, if its own passages lack
    a number or an identifier of the sentence. Small models often cite another passage about the same subject. In
    code, where `[2]` may be an index, no number is changed.
    """

    def __init__(self, numbers: Sequence[int], sources: Sequence[Source] = ()) -> None:
        self._numbers = frozenset(numbers)
        self._sources = sources
        self._compared = 0
        self._code = _Code()
        self._said = ""
        """The end of the text so far, in which the sentence before a marker is looked for."""

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
        text = MARKER.sub(self._spaced, self._open + self._corrected(text))
        shown = text[len(self._open) :]
        match = _OPEN.search(text)
        self._open = match[0] if match else ""
        return shown

    def _corrected(self, text: str) -> str:
        """The text with markers of passages that exist, and that hold what they stand behind."""
        pieces: list[str] = []
        end = 0
        for match in MARKER.finditer(text):
            self._say(pieces, text[end : match.start()])
            if numbers := self._kept([number for number in _NUMBER.findall(match[1]) if int(number) in self._numbers]):
                self._say(pieces, f"{' ' if match[0].startswith(' ') else ''}[{', '.join(numbers)}]")
            end = match.end()
        self._say(pieces, text[end:])
        return "".join(pieces)

    def _say(self, pieces: list[str], text: str) -> None:
        pieces.append(text)
        self._code.add(text)
        self._said = (self._said + text)[-LONGEST_CLAIM:]

    def _kept(self, numbers: list[str]) -> list[str]:
        if not numbers or not self._passages or self._code or self._compared >= MOST_CORRECTED:
            return numbers
        self._compared += 1
        cited = [words for source, words in self._passages if str(source.number) in numbers]
        claims = [_Words.of(claim) for claim in _claims_before(self._said, len(self._said))]
        # What is said of the passage itself, such as "This is stated in", is not in it.
        claim = claims[0] if any(words.share_of(claims[0]) >= CREDITED for words in cited) else claims[-1]
        # Common words are in many passages. Without a number or an identifier, the model knows better.
        if any(claim.numbers <= words.numbers for words in cited):
            return numbers
        best = _best_of(claim, self._passages)
        return numbers if best is None else [str(best.number)]

    @cached_property
    def _passages(self) -> Sequence[tuple[Source, "_Words"]]:
        return _words_of(self._sources)

    def _spaced(self, match: re.Match[str]) -> str:
        known = all(int(number) in self._numbers for number in _NUMBER.findall(match[1]))
        return match[0] if known else f"{match[0][:-1]} ]"


class CheckedCitations(BaseChatModel):
    """A chat model that never streams a citation of a passage outside `numbers`."""

    model: BaseChatModel
    numbers: tuple[int, ...]

    sources: tuple[Source, ...] = ()
    """The passages, to correct the numbers of those that do not hold the sentence before them; see `MarkerFilter`."""

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
        markers = MarkerFilter(self.numbers, self.sources)
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


def citations_in(text: str, sources: Sequence[Source], results: Sequence[str] = ()) -> list[Citation]:
    """The citations in `text`, one for each number in a marker.

    Small models often answer from a passage without citing it. So each sentence without a marker that a passage holds
    is credited to it, and its citation spans the sentence: the passage has `CREDITED` of the sentence's words, or
    `CREDITED_WITH_NAME` if the sentence has an identifier, and all of its numbers and identifiers. `results` are what
    other tools answered in the same turn. A sentence that shares a word or a number with them is not credited, as it
    may come from there. Nothing is credited in an answer of more than `LONGEST_CREDITED` characters, or beside more
    than `LONGEST_RESULTS` characters of results.
    """
    by_number = {source.number: source for source in sources}
    # A citation begins at the bracket; the marker may include a space before it.
    found = [
        Citation(by_number[int(number)], match.start() + match[0].index("["), match.end())
        for match in MARKER.finditer(text)
        for number in _NUMBER.findall(match[1])
        if int(number) in by_number
    ]
    return sorted([*found, *_credited(text, sources, results)], key=lambda one: one.start)


@dataclass(frozen=True, slots=True)
class _Words:
    """What is compared of a text: its words, and its numbers with its identifiers."""

    words: frozenset[str]
    numbers: frozenset[str]
    names: bool
    """Whether it has an identifier."""

    @classmethod
    def of(cls, text: str) -> Self:
        folded = text.casefold()
        names = frozenset(_identifiers_in(folded))
        return cls(frozenset(_letters_of(folded)), names.union(_numbers_in(folded)), bool(names))

    @classmethod
    def of_passage(cls, text: str) -> Self:
        """A passage also holds what reads like a name, however it is written there."""
        found = cls.of(text)
        return replace(found, numbers=found.numbers.union(_joined_in(text.casefold())))

    def share_of(self, claim: Self) -> float:
        """The share of the claim's words that are in this text, 0 to 1. A long word counts more than a short one."""
        # Short words such as `the` and `not` are in every passage.
        return sum(map(len, claim.words & self.words)) / sum(map(len, claim.words)) if claim.words else 1.0

    def shares_any(self, claim: Self) -> bool:
        return bool(claim.words & self.words or claim.numbers & self.numbers)


def _words_of(sources: Sequence[Source]) -> Sequence[tuple[Source, _Words]]:
    return [(source, _Words.of_passage(f"{source.title} {source.text}")) for source in sources]


def _best_of(claim: _Words, passages: Sequence[tuple[Source, _Words]]) -> Source | None:
    """The passage that holds a sentence best, and none if no passage holds it."""
    if len(claim.words) + len(claim.numbers) < FEWEST_WORDS:
        return None
    least = CREDITED_WITH_NAME if claim.names else CREDITED
    holding = [
        (share, source)
        for source, one in passages
        if claim.numbers <= one.numbers and (share := one.share_of(claim)) >= least
    ]
    return max(holding, key=lambda one: one[0], default=(0.0, None))[1]


def _credited(text: str, sources: Sequence[Source], results: Sequence[str]) -> list[Citation]:
    """One citation for each run of sentences without markers that the same passage holds best."""
    if not text or len(text) > LONGEST_CREDITED or sum(map(len, results)) > LONGEST_RESULTS:
        return []
    passages = _words_of(sources)
    of_tools = _Words.of("\n".join(results))
    found: list[Citation] = []
    before: Source | None = None
    for start, end in _sentences(text):
        claim = _Words.of(text[start:end])
        if _is_marked(text, start, end):
            before = None
            continue
        if not claim.words and not claim.numbers:
            # A line of a fence or of a table. It neither needs a passage nor ends a run.
            continue
        best = None if of_tools.shares_any(claim) else _best_of(claim, passages)
        if best is not None and best is before:
            found[-1] = replace(found[-1], end=end)
        elif best is not None:
            found.append(Citation(best, start, end))
        before = best
    return found


def _is_marked(text: str, start: int, end: int) -> bool:
    """Whether a marker is in the sentence, or begins behind it."""
    while end < len(text) and text[end].isspace():
        end += 1
    return MARKER.search(text, start, end) is not None or MARKER.match(text, end) is not None


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where each sentence begins and ends, without the white space around it."""
    start = 0
    for stop in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        sentence = text[start:stop]
        if words := sentence.strip():
            begin = start + sentence.index(words)
            yield begin, begin + len(words)
        start = stop


def held(citation: Citation, text: str) -> float:
    """How far the cited passage holds the sentence: the share of its words that it contains, 0 to 1.

    It is the sentence before a marker. Without a marker, it is that of the citation's sentences which is held least. At
    most `WITHOUT_NUMBERS` if the passage lacks one of the sentence's numbers. A sentence without words is held.
    """
    passage = f"{citation.source.title} {citation.source.text}"
    letters, numbers = _letters_of(passage), _numbers_in(passage)
    cited = text[citation.start : citation.end]
    if MARKER.fullmatch(cited):
        return max(_held(claim, letters, numbers) for claim in _claims_before(text, citation.start))
    return min((_held(cited[start:end], letters, numbers) for start, end in _sentences(cited)), default=1.0)


def _held(claim: str, letters: set[str], numbers: set[str]) -> float:
    words = _letters_of(claim)
    share = len(words & letters) / len(words) if words else 1.0
    return share if _numbers_in(claim) <= numbers else min(share, WITHOUT_NUMBERS)


def _claims_before(text: str, at: int) -> Sequence[str]:
    """The sentence that ends where a marker begins. Other markers in it are no part of it.

    A short sentence may only point at the passage. The one before it, for which it then stands, is the second claim if
    it has no marker of its own.
    """
    whole = text[max(0, at - LONGEST_CLAIM) : at]
    # As long as it was, so that a place in it is the same in both.
    before = MARKER.sub(lambda match: " " * len(match[0]), whole).rstrip()
    starts = [0, *(match.end() for match in _SENTENCE_END.finditer(before))]
    claim = before[starts[-1] :]
    may_point = len(claim.split()) < SHORTEST_CLAIM and not _Words.of(claim).numbers
    if may_point and len(starts) > 1 and MARKER.search(whole, starts[-2]) is None:
        return claim, before[starts[-2] : starts[-1]]
    return (claim,)


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


def _identifiers_in(text: str) -> Iterator[str]:
    """Words with letters and digits, or with an underscore inside: `B102`, `GRAPH_AGENT_PORT`. Of what stands between
    backticks, also what has a colon or a hyphen: `git:set`, `--no-restart`."""
    for code in _IN_TICKS.findall(text):
        yield from _joined_in(code)
    for token in _TOKEN.findall(text):
        # Markdown writes emphasis with underscores.
        word = token.strip("_")
        if "_" in word or (not word.isalpha() and not word.isdigit() and any(map(str.isalpha, word))):
            yield word


def _joined_in(text: str) -> Iterator[str]:
    return (token for token in _JOINED.findall(text) if not token.isalnum() and "_" not in token)


def citation_annotations(text: str, sources: Sequence[Source], results: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The citations in `text` as LangChain's annotations. The arguments are those of `citations_in`."""
    return [citation.annotation() for citation in citations_in(text, sources, results)]


def without_markers(passage: str) -> str:
    """The passage with everything that looks like a citation, such as `[2]`, in round brackets.

    Otherwise the model would read a line of the passage that begins with `[2]` as passage 2. An index such as `a[2]`
    does not change.
    """
    return _LIKE_A_MARKER.sub(r"(\1)", passage)
