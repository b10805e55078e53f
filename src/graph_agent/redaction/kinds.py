"""The formats of secrets: how to find a whole secret, and how to see that a text ends inside of one.

Every pattern takes linear time, also when it is tried at every offset of a text. A repetition starts at a boundary that
its own characters cannot form, or is bounded, or is possessive (`*+`) and never backtracks. Sources: the vendors' pages
on their token formats, and the rules of public secret scanners.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from graph_agent.redaction.vendors import ALONE, WITH_DASH, WITH_DOT, WITH_UNDERSCORE

# A boundary: no word continues here. An escaped character, as in JSON or a URL, counts as a boundary too.
_EDGE = r"(?:(?<![\w-])|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F]))"
# A digit within 64 characters, which words do not have. It is bounded because it is tried at every boundary.
_DIGIT = r"(?=[^\s\"'\\]{0,63}\d)"
# A character of a value. What looks like a call or an index (`name(`, `name[`) is code and not a value.
_VALUE = r"[^\s\"'`,;&<>(){}\[\]\\|]"
_CODE = r"(?!\w[\w.]{0,99}[(\[])"
_END = rf"[.:!?]{{0,3}}(?!{_VALUE})"
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]{0,15}://"
# An absolute path, or one in lower case. A key in base64 has slashes too, but mixes upper and lower case.
_ABSOLUTE = rf"[~.]{{0,2}}+(?:/[\w.@%+~-]{{0,18}}+){{1,20}}+{_END}"
_PATH = rf"(?:{_ABSOLUTE}|[a-z][a-z0-9_.-]{{0,24}}+(?::\d{{1,5}}+)?(?:/[a-z0-9_.-]{{0,24}}+){{1,20}}+{_END})"
_NUMBER = rf"[-+]?\d[\d._:+-]{{0,40}}+(?:[A-Za-z]{{1,8}}+|[eE]-\d{{1,4}}+)?{_END}"
_DATE = r"\d{4}-\d\d-\d\d(?:T\d\d|(?!\w))"
_DOTTED = rf"[A-Za-z_]\w{{0,19}}+(?:\.[A-Za-z_]\w{{0,23}}+){{1,9}}{_END}"
# A value that looks random: at least 12 characters with letters and digits, and no path, number, date or dotted name.
_DRAWN = (
    rf"(?!\$){_CODE}(?!{_ADDRESS}|{_PATH}|{_NUMBER}|{_DATE}|{_DOTTED})"
    rf"(?={_VALUE}{{0,63}}\d)(?={_VALUE}{{0,63}}[A-Za-z]){_VALUE}{{12,}}"
)
_QUOTED = rf"(?!\$|{_ADDRESS}|{_ABSOLUTE}){_CODE}{_VALUE}{{6,}}"
_QUOTE = r"(?:\\{0,7}[\"'])"
_QUOTE_BEGUN = r"\\{0,7}[\"']?"
_PASSWORD = r"(?i:pass(?:word|wd|phrase)|pwd)"
_WITH_A_NAME = r"(?:(?<=[A-Za-z0-9])|(?<=[A-Za-z0-9][_-]))"
_OF_KEYS = "|".join(rf"(?<={word})|(?<={word}[_-])" for word in ("api", "secret", "access", "account", "private"))
# The token of a next page is not a secret, and neither is one of a tokenizer.
_OF_PAGES = ("page", "next", "continuation", "cursor", "pagination", "skip", "sync", "delta", "resume", "starting")
_OF_MODELS = ("pad", "eos", "bos", "unk", "mask", "sep", "cls", "stop", "end", "start", "special", "first", "last")
_NO_SECRET = "".join(f"(?<!{word})(?<!{word}[_-])" for word in (*_OF_PAGES, *_OF_MODELS))
# Matched from the last word of the name on, because that word is the hint that the search looks for.
_NAMED = rf"(?i:(?:{_OF_KEYS})key|{_WITH_A_NAME}(?:secret|{_NO_SECRET}token|credential))"
_KEY = rf"(?:{_PASSWORD}|{_NAMED})"
_BARE = rf"(?i:secret|{_NO_SECRET}token|credential)"
# Alone these are everyday words, except in query strings, command lines and environment files.
_BARE_SET = r"(?:(?:(?<=[?&])|(?<=--))(?i:secret|token|credential)|(?:SECRET|TOKEN|CREDENTIAL)(?==))"
_SEPARATOR = rf"{_QUOTE}?\s{{0,4}}[:=]\s{{0,4}}"
_WORDS = r"[A-Z]?[a-z]{1,31}+(?:[-_.+/][a-z]{0,30}+\d{0,4}+){0,8}+(?![\w.~+/=-])"
# Ordinary words after a prefix: `sk-learn-contrib-2024`, `hf_transformers_4_40`.
_WORDY = r"(?:[A-Z]?[a-z]{1,24}+|\d{1,4}+)\d{0,4}+(?:[-_.][A-Z]?[a-z]{0,24}+\d{0,4}+){0,12}+(?![\w-])"
_SCHEME = r"(?i:bearer|basic)(?:\s{1,4}|%20)"
_HEADER = rf"(?i:authorization){_SEPARATOR}{_QUOTE}?"
# PEM armor: headers, then lines of base64. Without an END line, a short line only belongs to it at the end of the text.
_BREAK = r"(?:\s|\\{1,7}[nrt])"
_LINE = r"[A-Za-z0-9+/=]"
_PEM = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = r"-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_PEM_HEADERS = rf"(?:{_BREAK}{{1,8}}[A-Z][A-Za-z-]{{1,20}}:\s?[\w,.-]{{1,99}}){{0,3}}"
_PEM_LINES = rf"{_BREAK}{{0,16}}{_LINE}{{16,}}(?:{_BREAK}{{1,16}}{_LINE}{{16,}})*"
_PEM_LAST = rf"(?:{_BREAK}{{0,16}}{_LINE}{{1,76}})?{_BREAK}{{0,16}}{_PEM_END}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of secret. In `whole` and `begun`, the group `secret` is replaced, and the rest is context."""

    name: str
    hints: Sequence[str]
    """Lower-case texts. Every match of `whole` starts with one of them."""

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    """Matches to the end of a text that ends inside of a secret. It needs the whole fixed prefix, which is not secret
    itself."""

    run: re.Pattern[str]
    """Matches the end of a text, read backwards, as far as it may belong to a secret."""

    drawn: str = ""
    """The group of `whole` that is checked for a placeholder. Empty if this kind has no placeholders."""

    @property
    def marker(self) -> str:
        """The replacement. It has no quote and no backslash, so that JSON stays valid."""
        return f"[redacted {self.name}]"


def _prefixed(
    name: str, prefixes: Sequence[str], body: str, least: int, *, hints: Sequence[str] = (), edge: bool = False
) -> Kind:
    """A kind with a fixed prefix. `body` is the character class of what follows, at least `least` of them.

    `edge` requires a boundary before the prefix, for prefixes that also occur inside of words or base64.
    """
    before = _EDGE if edge else ""
    heads = "|".join(map(re.escape, prefixes))
    words = f"(?!{_WORDY})" if edge else ""
    whole = re.compile(rf"{before}(?P<secret>(?:{heads}){words}(?P<drawn>{body}{{{least},}}))")
    begun = re.compile(rf"{before}(?P<secret>(?:{heads}){body}*+)")
    return Kind(name, [prefix.lower() for prefix in hints or prefixes], whole, begun, re.compile(f"{body}*+"), "drawn")


def _after(name: str, hints: Sequence[str], before: str, value: str, begun: str) -> Kind:
    """A kind that is recognized by the text before it. `begun` is the character class of an incomplete secret."""
    whole = re.compile(f"{before}(?P<secret>{value})")
    # At the end of a text the opening quote may be incomplete: only its backslashes may have arrived.
    so_far = before.removesuffix(_QUOTE) + _QUOTE_BEGUN if before.endswith(_QUOTE) else before
    begins = re.compile(rf"{so_far}(?P<secret>{begun}*+)")
    return Kind(name, hints, whole, begins, re.compile(f"{begun}*+"), "secret")


STEMS = ("key", "secret", "token", "pass", "pwd", "cred", "sig=")
"""Lower-case texts. The name in every `name=value` contains one of them."""

KINDS: tuple[Kind, ...] = (
    Kind(
        "private key",
        ["-----begin "],
        re.compile(
            rf"(?P<secret>{_PEM}{_PEM_HEADERS}(?:{_PEM_LINES}(?:{_PEM_LAST}|{_BREAK}{{1,16}}{_LINE}{{1,15}}\Z)?"
            rf"|{_PEM_LAST}))"
        ),
        re.compile(
            rf"(?P<secret>-----BEGIN [A-Z ]{{0,60}}(?:-{{0,5}}"
            rf"|-----{_PEM_HEADERS}(?:{_BREAK}{{0,16}}{_LINE}{{16,}}(?={_BREAK}|\\|-|\Z))*"
            rf"{_BREAK}{{0,16}}(?:[A-Z][A-Za-z-]{{0,20}}(?::\s?[\w,.-]{{0,99}})?|{_LINE}{{0,76}}{_BREAK}{{0,16}})"
            r"\\{0,7}(?:-{1,5}(?:E[A-Z ]{0,60}-{0,5})?)?))\Z"
        ),
        re.compile(r"[A-Za-z0-9+/=\s\\:,.-]*+"),
    ),
    Kind(
        "JWT",
        ["eyj"],
        re.compile(rf"{_EDGE}(?P<secret>eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+\.[\w-]{{8,}})"),
        re.compile(rf"{_EDGE}(?P<secret>eyJ[\w-]*+(?:\.[\w-]*+){{0,2}})"),
        re.compile(r"[\w.-]*+"),
    ),
    _prefixed("Databricks token", ["dapi", "dose", "dkea", "dsap"], r"[0-9a-fA-F-]", 30),
    _prefixed("GitHub token", ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"], r"\w", 22),
    _prefixed("GitLab token", ["glpat-"], r"[\w-]", 20),
    _prefixed("AWS key", ["AKIA", "ASIA"], "[A-Z0-9]", 16),
    _prefixed("Alibaba Cloud key", ["LTAI"], "[A-Za-z0-9]", 12, edge=True),
    _prefixed("Google key", ["AIza", "GOCSPX-", "ya29."], r"[\w-]", 20, edge=True),
    _prefixed("Slack token", ["xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-"], r"[\w-]", 10,
              hints=["xox", "xapp-"]),
    _prefixed("API key", ["sk-", "sk_live_", "sk_test_", "rk_live_", "hf_"], r"[\w-]", 20, edge=True),
    _prefixed("API key", WITH_UNDERSCORE, r"[\w-]", 20, edge=True),
    _prefixed("API key", WITH_DASH, r"[\w-]", 20, edge=True),
    _prefixed("API key", WITH_DOT, r"[\w.-]", 20, edge=True),
    _prefixed("API key", ALONE, r"[\w+/=-]", 40, edge=True),
    # The prefix is a lookbehind that ends right before the secret, because a stream only keeps a short context.
    _after("API key", ["-key-1"], r"(?<=AGE-SECRET)-KEY-1", "[0-9A-Z]{40,}", "[0-9A-Z]"),
    # A Telegram bot's token begins with the number of the bot.
    _after("API key", [":aa"], r"(?<=\d{8}):AA", r"[\w-]{30,}", r"[\w-]"),
    _after("webhook", ["/services/"], r"(?<=hooks\.slack\.com)/services/", r"[\w/]{20,}", r"[\w/]"),
    _after(
        "password",
        ["://"],
        r"://[^\s/:@\"'<>]{0,128}:(?!//)",
        r"[^\s/\"'<>\\{}$\[]{1,256}(?=@)",
        r"[^\s/\"'<>\\{}$\[]",
    ),
    _after("token", ["bearer", "basic"], rf"{_EDGE}{_SCHEME}",
           rf"(?!{_WORDS}){_DIGIT}[\w.~+/=-]{{16,}}", r"[\w.~+/=-]"),
    _after("token", ["authorization"], rf"{_HEADER}{_SCHEME}",
           r"[\w.~+/=-]{8,}", r"[\w.~+/=-]"),
    _after("password", ["pass", "pwd"], rf"{_PASSWORD}=(?!\w{{1,99}}[.])",
           rf"(?![$~/]|\.{{1,2}}/|{_ADDRESS}){_CODE}{_VALUE}{{4,}}", _VALUE),
    _after("secret", ["pass", "pwd", "key", "secret", "token", "cred"], rf"{_KEY}{_SEPARATOR}", _DRAWN, _VALUE),
    _after("secret", ["secret", "token", "cred"], rf"{_BARE_SET}{_SEPARATOR}", _DRAWN, _VALUE),
    # In quotes, letters alone are a value too if the name is clear. The first word of a sentence is not a value.
    _after("secret", ["pass", "pwd"], rf"{_PASSWORD}{_SEPARATOR}{_QUOTE}", _QUOTED, _VALUE),
    _after("secret", ["key", "secret", "token", "cred"], rf"{_NAMED}{_SEPARATOR}{_QUOTE}",
           rf"(?![A-Za-z]{{6,40}}+\s){_QUOTED}", _VALUE),
    _after("secret", ["secret", "token", "cred"], rf"{_BARE}{_SEPARATOR}{_QUOTE}", _DRAWN, _VALUE),
    _after("signature", ["sig="], rf"{_EDGE}sig=", r"[\w%+/=-]{20,}", r"[\w%+/=-]"),
)  # fmt: skip


_OF_PAIRS = frozenset({*STEMS, "://", "authorization"})
"""Hints that only count if the text has a colon or an equals sign."""


def _by_sign(hints: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Group hints by a sign that each contains. Most texts are then searched for a few signs, not for every hint."""

    def sign(hint: str) -> str:
        return next((one for one in "_-./" if one in hint), "")

    return tuple((one, tuple(several)) for one, several in groupby(sorted(hints, key=sign), key=sign))


HINTS = _by_sign({hint for kind in KINDS for hint in kind.hints} - _OF_PAIRS)
"""Lower-case texts. Every secret contains one, except those in pairs and connection strings."""

ALL_HINTS = (*HINTS, *((sign, tuple(sorted(_OF_PAIRS))) for sign in ":="))


def _one_of(words: Iterable[str]) -> str:
    """A pattern for any of the words. It reads each letter once, which is several times faster than `a|b|c`."""
    by_letter: dict[str, list[str]] = {}
    for word in words:
        by_letter.setdefault(word[:1], []).append(word[1:])
    if "" in by_letter:
        # One of the words ends here, so a longer one need not be looked for.
        return ""
    rest = [re.escape(letter) + _one_of(several) for letter, several in sorted(by_letter.items())]
    return rest[0] if len(rest) == 1 else f"(?:{'|'.join(rest)})"


ANY_HINT = tuple((sign, re.compile(_one_of(hints))) for sign, hints in ALL_HINTS)
"""The hints as one pattern for each sign. For short texts this is faster than a search for each hint."""
