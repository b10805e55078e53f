"""Decodes bytes as text: by byte order mark, as UTF-8, by the declared encoding, or by what they look like.

Bytes that fit no encoding are refused, so that no noise is indexed. Control characters are removed, and all text is in
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
"""UTF-32 comes before UTF-16, because its little-endian mark begins with the one of UTF-16."""

DECLARED_IN_HTML = re.compile(rb"""(?:charset|encoding)\s{0,20}=\s{0,20}["']?\s{0,20}([\w:.-]{1,40})""", re.IGNORECASE)
DECLARED_IN_TEXT = re.compile(rb"(?:coding|charset|encoding)\s{0,5}[:=]\s{0,5}([\w.-]{1,40})", re.IGNORECASE)
DECLARATION_BYTES = 2048
"""Where a declaration is searched. Browsers search the first 1024 bytes of a page."""

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
"""The larger encoding that browsers use for a declared one, because authors usually mean that.

Source: WHATWG Encoding Standard, "Names and labels".
"""

SAMPLE_BYTES = 65_536
"""Only the beginning is judged, so that the time does not grow with the document."""

SPOILED_SHARE = 0.01
"""Invalid bytes are replaced up to this share. With more of them, the encoding is wrong."""

CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
SEPARATORS = str.maketrans(dict.fromkeys("\x1c\x1d\x1e\x1f", " ") | {"\xad": None})
"""Information separators separate words. Soft hyphens do not, and would hide a word from the search."""


def decode_text(data: bytes) -> str:
    """The text of a plain or Markdown file. Raises `UnreadableDocument` if no encoding fits."""
    return decode(data, DECLARED_IN_TEXT)


def decode_html(data: bytes) -> str:
    """The text of an HTML page. Raises `UnreadableDocument` if no encoding fits."""
    return decode(data, DECLARED_IN_HTML)


def decode(data: bytes, declaration: re.Pattern[bytes]) -> str:
    for text in decode_with(data, declaration):
        if text is not None:
            return clean_text(text)
    raise UnreadableDocument("its text encoding is unknown; save it as UTF-8")


def decode_with(data: bytes, declaration: re.Pattern[bytes]) -> Iterator[str | None]:
    """The readings of the bytes, the most certain first. The first that is not `None` is used."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            yield decode_tolerant(data[len(mark) :], encoding)
    # Before the declaration: text in another encoding is hardly ever valid UTF-8, while wrong declarations are common.
    if not is_binary(data):
        yield decode_strict(data, "utf-8")
    yield decode_wide(data)
    if is_binary(data):
        raise UnreadableDocument("it contains binary data, not text")
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
    """The text with a few invalid bytes replaced, or `None` if there are many or the result is noise."""
    text = data.decode(encoding, errors="replace")
    spoiled = text.count("\ufffd")
    return text if spoiled <= max(1, SPOILED_SHARE * len(text)) and not is_noise(text) else None


def declared_encoding(data: bytes, declaration: re.Pattern[bytes]) -> str | None:
    """Python's name of the declared encoding, or `None` if there is none or it cannot be right."""
    found = declaration.search(data[:DECLARATION_BYTES])
    if found is None:
        return None
    try:
        codec = codecs.lookup(found.group(1).decode("ascii"))
    except (LookupError, UnicodeError):
        return None
    # The declaration was found as ASCII, so the text cannot be UTF-16 or UTF-32, and UTF-8 was tried before. Codecs
    # such as base64 do not give text.
    if not codec._is_text_encoding or codec.name.startswith(("utf-16", "utf-32", "utf-7", "utf-8")):
        return None
    return WIDER.get(codec.name, codec.name)


def decode_wide(data: bytes) -> str | None:
    """The text in UTF-16 or UTF-32 without a mark, in the first byte order that gives plausible text; else `None`."""
    if len(data) % 2 or (0 not in data and (len(data) < 8 or (data.isascii() and not is_binary(data)))):
        return None
    # UTF-32 first: nearly all UTF-32 is valid UTF-16 too, and hardly anything else is valid UTF-32.
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        text = decode_strict(data, encoding)
        if text and not is_noise(text) and is_of_one_script(text):
            return text
    return None


SCRIPTS = ("cp932", "gb2312", "big5", "euc_kr", "cp874", *(f"cp125{number}" for number in range(9)))


def is_of_one_script(text: str) -> bool:
    """Whether a legacy encoding, made for one script, has nearly all the characters. A wrong reading mixes scripts."""
    sample = text[:SAMPLE_BYTES]
    return any(len(sample.encode(script, "ignore").decode(script)) >= 0.97 * len(sample) for script in SCRIPTS)


def is_binary(data: bytes) -> bool:
    sample = data[:SAMPLE_BYTES]
    controls = sum(sample.count(code) for code in (*range(0x00, 0x09), *range(0x0E, 0x1B), 0x7F))
    return controls > SPOILED_SHARE * len(sample) + (len(sample) > 20)


def spoiled_utf8(data: bytes) -> str | None:
    """The text if it is UTF-8 with a few wrong bytes, such as a word pasted from another encoding; else `None`."""
    text = data.decode("utf-8", errors="replace")
    spoiled = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text) - spoiled
    return text if 2 * spoiled <= good else None


def is_noise(text: str) -> bool:
    """Whether too many characters are ones that people do not write: control, private-use, or unassigned ones."""
    sample = text[:SAMPLE_BYTES]
    odd = sum(unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs") for character in sample)
    blanks = sum(sample.count(blank) for blank in "\t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85")
    return odd - blanks > SPOILED_SHARE * len(sample) + (len(sample) > 20)


def clean_text(text: str) -> str:
    return unicodedata.normalize("NFC", CONTROLS.sub("", text).translate(SEPARATORS))
