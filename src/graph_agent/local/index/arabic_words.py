# ruff: noqa: RUF001
"""Arabic words in one form each, so that a word is found with and without what is attached to it.

Arabic writes the article, the pronouns and short words such as "and" and "with" together with a word. Marks for short
vowels may be left out, and several letters are often replaced by a plainer one. Plurals that change the inside of a
word stay other words.
"""

import re
import unicodedata

LEAST_LETTERS = 3
"""Letters that stay of a word. Roots have three."""

LONGEST = 40
"""Letters of a word that may have a stem. A longer one is no word, and each ending of it would be a copy."""

LETTERS = "\u0620-\u063f\u0641-\u064a\u066e-\u066f\u0671-\u06d3\u06d5\u06ee-\u06ef\u06fa-\u06fc\u06ff\u0750-\u077f"
WORD = re.compile(f"[{LETTERS}]+")

MARKS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1-\u05c2\u05c4-\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]"
)
"""Marks of vowels and of recitation, in Arabic and in Hebrew, and the line that makes a word longer (tatweel)."""

ENDING = re.compile("\u064b\u0627\\b|\u0627\u064b")
"""The ending of an indefinite object. Only its mark tells it from a long vowel."""

PLAINER = str.maketrans(
    {
        **dict.fromkeys("أإآٱ", "ا"),
        **dict.fromkeys("ىیئې", "ي"),
        **dict.fromkeys("ةہھەۀ", "ه"),
        "ؤ": "و",
        "ک": "ك",
        **{chr(digit): str(unicodedata.digit(chr(digit))) for digit in (*range(0x660, 0x66A), *range(0x6F0, 0x6FA))},
    }
)
"""Letters that are often replaced by a plainer one, those of Persian and Urdu keyboards, and digits."""

ARTICLES = ("وبال", "وكال", "فبال", "ولل", "وال", "بال", "كال", "فال", "لل", "ال")
PRONOUNS = ("هما", "ها", "هم", "هن", "كم", "كن", "نا", "ه", "ك", "ي")
PLURALS = ("ات", "ون", "ين", "ان", "يه")

ATTACHED = "وفبلك"
"""Short words of one letter that are written at the beginning of the next word: and, so, with, for, as."""

FUNCTION_WORDS = """
    كيف ما ماذا متى أين من هل لماذا لما كم أي أية هو هي هم نحن أنا أنت في على إلى عن مع أن إن أو ثم لا لم لن قد كل
    هذا هذه ذلك تلك التي الذي الذين عند عندما إذا بين بعد قبل كان كانت يكون تكون ليس حتى لكن أريد أفعل يمكن يمكنني
    يجب ينبغي وما وهل فما وكيف بدون دون
"""


def plainer(text: str) -> str:
    """A text without marks of vowels, and with the plainer ones of its letters."""
    return MARKS.sub("", ENDING.sub("", text)).translate(PLAINER)


STOP_WORDS = frozenset(plainer(FUNCTION_WORDS).split())
"""Words of questions, and words without a meaning of their own."""


def stemmed(text: str) -> str:
    """A text of `plainer` with its Arabic words as stems."""
    return WORD.sub(lambda word: stem(word.group()), text)


def stem(word: str) -> str:
    """An Arabic word without article, pronoun and regular ending.

    Again and again, so that a word is the same however much is attached to it.
    """
    if len(word) > LONGEST:
        return word
    before = ""
    while word != before:
        before = word
        word = without_start(word, ARTICLES)
        owned = without_end(word, PRONOUNS)
        # The ending of feminine words is another letter before a pronoun.
        word = without_end(owned, ("ت",)) if owned != word and not owned.endswith("ات") else owned
        word = without_end(without_end(word, PLURALS), ("ا",))
    return word


def without_start(word: str, starts: tuple[str, ...]) -> str:
    return next(
        (word[len(one) :] for one in starts if word.startswith(one) and len(word) - len(one) >= LEAST_LETTERS), word
    )


def without_end(word: str, ends: tuple[str, ...]) -> str:
    return next(
        (word[: -len(one)] for one in ends if word.endswith(one) and len(word) - len(one) >= LEAST_LETTERS), word
    )


def with_attached(stem: str) -> list[str]:
    """An Arabic stem as it is written with a short word before it. Empty for a word of another script."""
    return [short + stem for short in ATTACHED] if len(stem) >= LEAST_LETTERS and WORD.fullmatch(stem) else []


def without_attached(stem: str) -> list[str]:
    """An Arabic stem without its first letter, if that may be a short word."""
    return [stem[1:]] if stem[0] in ATTACHED and len(stem) > LEAST_LETTERS and WORD.fullmatch(stem) else []
