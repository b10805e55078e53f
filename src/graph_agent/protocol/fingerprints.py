"""Fingerprints of the texts of a conversation, which grow with it.

A client that resends a history may drop ids, merge messages, or leave out tool calls, reasoning and commentary. What
people said and what the assistant answered stays. So only texts count, without white space. What the assistant says
between two messages of others is one segment, however many messages it is.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graph_agent.protocol.json_decoding import Pulse, no_pulse

STEP = 65_536
"""Characters that are read between two pulses."""

ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """Hashes of all texts of a conversation from its root to the end of one response.

    A client that resends the history is recognized by them, even if it drops ids or merges messages. See `reconcile`.
    """

    whole: str
    """Of the texts of every message."""

    answers: str
    """Of the user's texts and the last text of the assistant in each segment, for clients that drop commentary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """All texts of a conversation up to some item, for fingerprints that continue from there."""

    before: Fingerprints | None = None
    """Of everything before the assistant's segment."""

    segment: tuple[str, ...] | None = None
    """What the assistant has said since somebody else spoke. `None` if it has done nothing since."""


class TextReader:
    """Reads items one by one. Takes time linear in their texts and calls `pulse` often."""

    def __init__(self, texts: Texts, *, pulse: Pulse = no_pulse) -> None:
        self._pulse = pulse
        self._before = texts.before
        self._whole = _begun(texts.before.whole if texts.before else "", ASSISTANT)
        self._last: hashlib.blake2b | None = None
        self._segment: list[str] | None = None
        if texts.segment is not None:
            self._segment = []
            for text in texts.segment:
                self._say(text)

    @property
    def texts(self) -> Texts:
        """All texts so far."""
        return Texts(before=self._before, segment=None if self._segment is None else tuple(self._segment))

    @property
    def fingerprints(self) -> Fingerprints | None:
        """Of all texts so far. `None` if the assistant has done nothing since somebody else spoke."""
        if self._segment is None:
            return None
        last = self._last or _begun(self._before.answers if self._before else "", ASSISTANT)
        return Fingerprints(whole=self._whole.hexdigest(), answers=last.hexdigest())

    def read(self, item: dict[str, Any]) -> None:
        """Continue with this item."""
        self._pulse()
        match item:
            case {"type": "message", "role": "assistant", "content": content}:
                self._segment = [] if self._segment is None else self._segment
                text = "".join(self._written(content))
                if text:
                    self._say(text)
            case {"type": "message", "role": role, "content": content}:
                self._hear("user" if role == "user" else "system", content)
            case {"type": "function_call_output" | "custom_tool_call_output" | "mcp_approval_response" | "compaction"}:
                pass
            case _ if self._segment is None:
                self._segment = []

    def _say(self, text: str) -> None:
        assert self._segment is not None
        self._segment.append(text)
        data = _encoded(text)
        self._whole.update(data)
        self._last = _begun(self._before.answers if self._before else "", ASSISTANT)
        self._last.update(data)

    def _hear(self, speaker: str, content: str | list[dict[str, Any]]) -> None:
        # A client may leave out what the assistant did without a word.
        before = self.fingerprints if self._segment else self._before
        whole = _begun(before.whole if before else "", speaker)
        answers = _begun(before.answers if before else "", speaker)
        said = False
        for text in self._written(content):
            said = said or bool(text)
            data = _encoded(text)
            whole.update(data)
            answers.update(data)
        if said:
            self._before = Fingerprints(whole=whole.hexdigest(), answers=answers.hexdigest())
            self._whole = _begun(self._before.whole, ASSISTANT)
            self._segment, self._last = None, None

    def _written(self, content: str | list[dict[str, Any]]) -> Iterator[str]:
        """The text without white space, in pieces, and what stands for each image and file."""
        for part in [content] if isinstance(content, str) else content:
            for text in _texts_of(part):
                for start in range(0, len(text), STEP):
                    self._pulse()
                    yield "".join(text[start : start + STEP].split())


def _texts_of(part: str | dict[str, Any]) -> Iterator[str]:
    match part:
        case str():
            yield part
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            yield text
        case {"type": "refusal", "refusal": str(text)}:
            yield text
        case {"type": "input_image" | "image_url", "image_url": str(url) | {"url": str(url)}}:
            yield f"\0image:{url}"
        case {"type": "input_file", "file_data": str(data)}:
            yield f"\0file:{data}"
        case {"type": "input_audio", "input_audio": {"data": str(data)}}:
            yield f"\0audio:{data}"


def _begun(before: str, speaker: str) -> hashlib.blake2b:
    return hashlib.blake2b(f"{before}\0{speaker}\0".encode(), digest_size=16)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


NO_TEXTS = Texts()
"""Of a conversation that begins."""
