"""Guesses an undeclared encoding from before Unicode by how plausible the text is in each of them."""

import re
from collections.abc import Callable, Mapping

SAMPLE_BYTES = 65_536
"""Only the beginning is judged, so that the time does not grow with the document."""


def legacy_text(data: bytes) -> str | None:
    """The text in the encoding that gives plausible words, or `None` if none does."""
    # The order matters: the strictest tests come first, because almost any bytes are valid in a single-byte encoding.
    if (text := thai(data)) is not None:
        return text
    for encoding, fits in EAST_ASIAN.items():
        text = decode_mostly_valid(data, encoding)
        if text is not None and fits(text[:SAMPLE_BYTES]):
            return text
    return single_bytes(data)


def decode_mostly_valid(data: bytes, encoding: str) -> str | None:
    """The text if nearly all bytes are valid, with the others replaced; else `None`."""
    text = data.decode(encoding, errors="replace")
    return text if text.count("\ufffd") <= len(text) // 100 + (len(text) >= 20) else None


def share(text: str, first: str, last: str) -> float:
    """The share of the non-ASCII characters that lie between two characters."""
    foreign = [character for character in text if character > "\x7f"]
    return sum(first <= character <= last for character in foreign) / max(len(foreign), 1)


def is_japanese(text: str) -> bool:
    # Japanese mixes kana with Chinese characters. Chinese read as Japanese has hardly any kana.
    return share(text, "\u3040", "\u30ff") > 0.25


def is_korean(text: str) -> bool:
    return share(text, "\uac00", "\ud7a3") > 0.9


def common_share(text: str, encoding: str, first: int, last: int) -> float:
    """The share of the Chinese characters that are in the encoding's first level, which has those in common use.

    `first` and `last` are the lead bytes of that level. A wrong reading gives rare characters.
    """
    written = [character.encode(encoding, "ignore") for character in text if "\u4e00" <= character <= "\u9fff"]
    return sum(first <= code[0] <= last for code in written if code) / max(len(written), 1)


def is_simplified(text: str) -> bool:
    return share(text, "\u3000", "\u9fff") > 0.7 and common_share(text, "gb2312", 0xB0, 0xD7) > 0.8


def is_traditional(text: str) -> bool:
    return share(text, "\u3000", "\u9fff") > 0.7 and common_share(text, "big5", 0xA4, 0xC6) > 0.8


EAST_ASIAN: Mapping[str, Callable[[str], bool]] = {
    "cp932": is_japanese,
    "euc_jp": is_japanese,
    "euc_kr": is_korean,
    "gb2312": is_simplified,
    "big5": is_traditional,
}


def thai(data: bytes) -> str | None:
    """The text if it is Thai, where each vowel and tone sign follows a consonant or another sign; else `None`."""
    text = decode_mostly_valid(data, "cp874")
    if text is None or share(text, "\u0e01", "\u0e5b") < 0.95 or 50 * len(MIXED_THAI.findall(text)) > len(text):
        return None
    signs = len(THAI_SIGN.findall(text))
    return text if signs and len(THAI_SIGN_IN_PLACE.findall(text)) > 0.97 * signs else None


MIXED_THAI = re.compile("[a-zA-Z][\u0e01-\u0e5b]|[\u0e01-\u0e5b][a-zA-Z]")
THAI_SIGN = re.compile("[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]")
THAI_SIGN_IN_PLACE = re.compile("(?<=[\u0e01-\u0e2e\u0e31\u0e34-\u0e3a\u0e47-\u0e4e])" + THAI_SIGN.pattern)


def single_bytes(data: bytes) -> str | None:
    """The text in the single-byte encoding with the fewest faults, Western first on a tie; `None` if all have many."""
    foreign = sum(byte > 0x7F for byte in data[:SAMPLE_BYTES])
    # Three letters are too few to judge, and most such files are Western.
    candidates = SINGLE_BYTE if foreign > 3 else SINGLE_BYTE[:1]
    texts = [text for encoding in candidates if (text := decode_mostly_valid(data, encoding)) is not None]
    readings = [text for text in texts if has_plausible_letters(text[:SAMPLE_BYTES])]
    faults = [fault_count(text[:SAMPLE_BYTES]) for text in readings]
    if not faults or min(faults) > max(1, foreign // 10):
        return None
    best = readings[faults.index(min(faults))]
    # cp1254 differs from cp1252 in six letters only, which the faults do not see.
    return data.decode("cp1254", errors="replace") if is_turkish(best) else best


SINGLE_BYTE = ("cp1252", "cp1251", "koi8-r", "cp1255", "cp1253", "cp1256", "cp1250", "iso8859-2", "cp866")

FAULTS = re.compile(
    # A symbol inside a word, a capital after a small letter, a letter among letters of another script,
    r"(?<=[^\W\d_])[^\w\s\x00-\x7f\u2010-\u2027\xad\xb7](?=[^\W\d_])"
    r"|(?<=[a-z\xdf-\xff])[\xc0-\xde]|(?<=[\u0430-\u045f])[\u0400-\u042f]|(?<=[\u03ac-\u03ce])[\u0391-\u03ab]"
    r"|(?<=[a-zA-Z])[\u0370-\u06ff]|(?<=[\u0370-\u06ff])[a-zA-Z]"
    # or what is rare in any text: control characters, boxes, currency and logic symbols beside letters, and runs of
    # four accented letters.
    r"|[\x80-\x9f\u2500-\u25ff\ufffd]|[\xa4\xa6\xac\xaf\xb8\xb1\xb2\xb3\xb9\xbc\xbe\xbf](?=[a-z\xdf-\xff])"
    r"|(?<=[a-z\xdf-\xff])[\xa4\xa6\xa8\xac\xaf\xb1\xb3\xb8\xb9\xbc\xbd\xbe\xbf](?=[a-z\xdf-\xff\s])"
    r"|[\xc0-\xff]{4}"
)


def fault_count(text: str) -> int:
    return sum(1 for _ in FAULTS.finditer(text))


def has_plausible_letters(text: str) -> bool:
    """Whether the letters look like a language.

    In Russian about half of the letters are vowels, and few are capitals. In Hebrew or Arabic text read as Russian they
    are not.
    """
    letters = sum("\u0400" <= letter <= "\u045f" for letter in text)
    vowels = sum(letter in "\u0430\u0435\u0438\u043e\u0443\u044b\u044d\u044e\u044f" for letter in text.lower())
    if share(text, "\u05d0", "\u05ea") < 0.9 and HEBREW.search(text):
        return False
    capitals = sum("\u0400" <= letter <= "\u042f" for letter in text)
    return not letters or (2 * capitals <= letters and 0.3 <= vowels / letters <= 0.65)


HEBREW = re.compile("[\u05d0-\u05ea]")


def is_turkish(text: str) -> bool:
    """Whether Western text is really Turkish: it then has some letters of Icelandic, but not the others."""
    return any(letter in text for letter in "\xfd\xfe\xf0") and not any(letter in text for letter in "\xe6\xe1\xed\xfa")
