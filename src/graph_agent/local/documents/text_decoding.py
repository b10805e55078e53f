"""Bytes as text: by their mark, by what they declare, as UTF-8, or by what they look like.

What no encoding fits is refused, so that no noise is indexed. Control characters are left out and all text is in
Unicode's composed form (NFC).
"""

import codecs
import re
import unicodedata
from collections.abc import Iterator

from graph_agent.local.documents.legacy_encodings import legacy_text
from graph_agent.local.documents.sections import UnreadableDocument

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 before UTF-16, whose mark its own begins with."""

DECLARED_IN_HTML = re.compile(rb"""(?:charset|encoding)\s{0,20}=\s{0,20}["']?\s{0,20}([\w:.-]{1,40})""", re.IGNORECASE)
DECLARED_IN_TEXT = re.compile(rb"(?:coding|charset|encoding)\s{0,5}[:=]\s{0,5}([\w.-]{1,40})", re.IGNORECASE)
DECLARATION_BYTES = 2048

WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""What browsers read a declared encoding as: the larger one that its users meant."""

SAMPLE_BYTES = 65_536
SPOILED_SHARE = 0.01
"""Bytes that fit the encoding of all the others badly are replaced, up to this share."""

CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
PARTING = str.maketrans(dict.fromkeys("\x1c\x1d\x1e\x1f", " ") | {"\xad": None})
"""Separators of records part words; soft hyphens do not."""


def decode_text(data: bytes) -> str:
    """The text of a plain or Markdown file. Raises `UnreadableDocument` where no encoding fits."""
    return decode(data, DECLARED_IN_TEXT)


def decode_html(data: bytes) -> str:
    """The text of a page, by what it declares where that fits. Raises `UnreadableDocument`."""
    return decode(data, DECLARED_IN_HTML)


def decode(data: bytes, declaration: re.Pattern[bytes]) -> str:
    for text in decode_with(data, declaration):
        if text is not None:
            return clean_text(text)
    raise UnreadableDocument("its text encoding is unknown; save it as UTF-8")


def decode_with(data: bytes, declaration: re.Pattern[bytes]) -> Iterator[str | None]:
    for mark, encoding in MARKS:
        if data.startswith(mark):
            yield decode_tolerant(data[len(mark) :], encoding)
    if not is_binary(data):
        yield decode_strict(data, "utf-8")
    yield decode_wide(data)
    if is_binary(data):
        raise UnreadableDocument("it holds binary data, not text")
    declared = declared_encoding(data, declaration)
    if declared is not None:
        yield decode_tolerant(data, declared)
    yield spoiled_utf8(data)
    yield legacy_text(data)


def decode_strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def decode_tolerant(data: bytes, encoding: str) -> str | None:
    """With the few bytes replaced that do not fit; none where they are many."""
    text = data.decode(encoding, errors="replace")
    spoiled = text.count("\ufffd")
    return text if spoiled <= max(1, SPOILED_SHARE * len(text)) and not is_noise(text) else None


def declared_encoding(data: bytes, declaration: re.Pattern[bytes]) -> str | None:
    """The declared encoding as Python knows it; none where there is none, or it cannot be true."""
    found = declaration.search(data[:DECLARATION_BYTES])
    if found is None:
        return None
    try:
        codec = codecs.lookup(found.group(1).decode("ascii"))
    except (LookupError, UnicodeError):
        return None
    # The declaration was read as ASCII, so the page is in nothing wider; and codecs such as base64 give no text.
    if not codec._is_text_encoding or codec.name.startswith(("utf-16", "utf-32", "utf-7", "utf-8")):
        return None
    return WIDER.get(codec.name, codec.name)


def decode_wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: of the ways to read it, the one that gives writing."""
    if len(data) % 2 or (0 not in data and (len(data) < 8 or (data.isascii() and not is_binary(data)))):
        return None
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        text = decode_strict(data, encoding)
        if text and not is_noise(text) and is_of_one_script(text):
            return text
    return None


SCRIPTS = ("cp932", "gb2312", "big5", "euc_kr", "cp874", *(f"cp125{number}" for number in range(9)))


def is_of_one_script(text: str) -> bool:
    """Whether an encoding made for one language has nearly all the characters: of a false reading none has."""
    sample = text[:SAMPLE_BYTES]
    return any(len(sample.encode(script, "ignore").decode(script)) >= 0.97 * len(sample) for script in SCRIPTS)


def is_binary(data: bytes) -> bool:
    sample = data[:SAMPLE_BYTES]
    controls = sum(sample.count(code) for code in (*range(0x00, 0x09), *range(0x0E, 0x1B), 0x7F))
    return controls > SPOILED_SHARE * len(sample) + (len(sample) > 20)


def spoiled_utf8(data: bytes) -> str | None:
    """UTF-8 in which a few bytes are wrong: a cut character, or a word pasted in from elsewhere."""
    text = data.decode("utf-8", errors="replace")
    spoiled = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text) - spoiled
    return text if 2 * spoiled <= good else None


def is_noise(text: str) -> bool:
    """Whether too much of it is nothing that people write: control characters, private and unassigned ones."""
    sample = text[:SAMPLE_BYTES]
    odd = sum(unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") for character in sample)
    blanks = sum(sample.count(blank) for blank in "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85")
    return odd - blanks > SPOILED_SHARE * len(sample) + (len(sample) > 20)


def clean_text(text: str) -> str:
    return unicodedata.normalize("NFC", CONTROLS.sub("", text).translate(PARTING))
