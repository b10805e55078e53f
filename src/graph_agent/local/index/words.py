"""Turns texts and queries into the words that the full-text search compares.

Chinese, Japanese and Thai have no spaces between words, and Korean has them in other places than searches need. Their
runs of letters become overlapping pairs or triples. Arabic words become stems. SQLite's own tokenizer handles the rest.
Texts and queries are in Unicode's compatibility form (NFKC), so that ligatures, wide letters and composed accents make
no difference.
"""

import re
import unicodedata
from collections.abc import Iterator

from graph_agent.local.index import arabic_words

HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA = "\u3041-\u309f"
KATAKANA = "\u30a1-\u30ff\u31f0-\u31ff"
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
UNMARKED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese and Khmer: alphabets without spaces between words."""

RUN = re.compile(
    f"(?P<han>[{HAN}]+)|(?P<hiragana>[{HIRAGANA}]+)|(?P<pairs>[{KATAKANA}]+|[{HANGUL}]+)|(?P<triples>[{UNMARKED}]+)"
)
INDIC_MARKS = "".join(chr(mark) for mark in range(0x900, 0xE00) if unicodedata.category(chr(mark)) in ("Mn", "Mc"))
"""Vowels and other marks of Devanagari to Sinhala, which stand inside of words."""

WORD = re.compile(rf"[\w{INDIC_MARKS}]+")
HIRAGANA_ONLY = re.compile(f"[{HIRAGANA}]+")
INVISIBLE = re.compile("[\xad\u200b-\u200f\u2060-\u2064\ufeff]")

FUNCTION_WORDS = """
    a an and are as at be been but by can could did do does for from had has have how i if in into is it its me may
    must my no nor not of on or our shall should so such that the their them then there these they this those to us
    was we were what when where which while who whom whose why will with would you your
"""
GERMAN_FUNCTION_WORDS = """
    aber als auch auf aus bei beim damit dann das dass dem denn der dich dies diese diesem diesen dieser
    dieses doch du durch ein eine einem einen einer eines er etwas für gibt habe haben hatte ich ihm ihn ihr
    ihre im ist jede jedem jeden jeder jedes kann kannst können könnte mein meine meinem meinen meiner mich mir
    muss müssen nach nicht noch nur ob oder ohne sein seine sich sie sind soll sollte über um und uns unser unsere vom
    von vor wann warum weil welche welchem welchen welcher welches wem wen wenn wer werde werden wie wieder wieso wird
    wo wofür womit wurde wäre zu zum zur zwischen
"""
"""Without those that mean something in English or to a machine, such as `die`, `mit`, `bin` and `dir`, which queries in
English need."""

ENGLISH_STOP_WORDS = frozenset(FUNCTION_WORDS.split())
STOP_WORDS = ENGLISH_STOP_WORDS.union(GERMAN_FUNCTION_WORDS.split())

ASKING = re.compile(
    "(?:は|が|を|に|の|で|と|も|へ)?(?:何ですか|なんですか|でしょうか|ありますか|ですか|ますか|ましたか|どのように|どうやって|どうすれば|"
    "教えてください|について|とは|なぜ|いつ|どこ|だれ|どの|どれ|どう)|ください|でしょう"
)
"""Question words and particles of Japanese, which no answer contains."""


def searchable(text: str) -> str:
    """A passage in the form that SQLite's tokenizer gets."""
    return RUN.sub(lambda run: f" {' '.join(grams(run, whole=True))} ", arabic_words.stemmed(plain(text)))


def query_words(query: str) -> list[str]:
    """The words of a query without stop words, each once, in order. One that consists of German ones keeps them: it may
    be the name of something, such as the format DER."""
    return _query_words(query, STOP_WORDS) or _query_words(query, ENGLISH_STOP_WORDS)


def _query_words(query: str, stop_words: frozenset[str]) -> list[str]:
    words: list[str] = []
    rest = 0
    text = ASKING.sub(" ", plain(query).lower())
    for run in RUN.finditer(text):
        words += spaced_words(text[rest : run.start()], stop_words)
        words += grams(run, whole=False)
        rest = run.end()
    words += spaced_words(text[rest:], stop_words)
    return list(dict.fromkeys(words))


def is_grammar(word: str) -> bool:
    """Whether a word of a Japanese query is hiragana only. Such pairs are endings and particles more often than names
    of things."""
    return HIRAGANA_ONLY.fullmatch(word) is not None


def latin_share(text: str) -> float:
    """The share of a text's letters that are Latin. The embedding model knows little but English."""
    letters = [letter for letter in plain(text) if letter.isalpha()]
    return sum(letter < LAST_LATIN for letter in letters) / len(letters) if letters else 1.0


LAST_LATIN = "\u0250"
"""First character after the Latin blocks of Unicode."""


def plain(text: str) -> str:
    return arabic_words.plainer(unicodedata.normalize("NFKC", INVISIBLE.sub("", text)))


def spaced_words(text: str, stop_words: frozenset[str]) -> list[str]:
    words = [word for word in WORD.findall(text) if word not in stop_words and word not in arabic_words.STOP_WORDS]
    return [arabic_words.stemmed(word) for word in words]


def grams(run: re.Match[str], *, whole: bool) -> Iterator[str]:
    """The overlapping pieces of a run. `whole` adds the single characters of Chinese, which a query may consist of."""
    text = run.group()
    length = 3 if run.lastgroup == "triples" else 2
    if len(text) < length:
        # In a query, a single letter of an alphabet is only a particle or an ending, and would match nearly everything.
        if run.lastgroup == "han" or whole or len(text) > 1:
            yield text
        return
    yield from (text[at : at + length] for at in range(len(text) - length + 1))
    if whole and run.lastgroup == "han":
        yield from dict.fromkeys(text)
