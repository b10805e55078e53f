"""What secrets look like, kind by kind: how to find whole ones, and how to tell that a text ends inside of one.

Every pattern is linear: what may repeat either stands at a boundary that its own characters cannot make, or is
bounded. Sources: the vendors' pages on their token formats; the rules of public secret scanners.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A boundary: no word goes on here. An escaped character, as in JSON or an address within a text, is one too.
_EDGE = r"(?:(?<![\w-])|(?<=\\[nrt])|(?<=%[0-9A-F][0-9A-F]))"
# A digit soon, which words do not have. Bounded, as it is asked at every boundary.
_DIGIT = r"(?=[^\s\"'\\]{0,63}\d)"
# A value; a call or an item of a list is code.
_VALUE = r"[^\s\"'`,;&<>(){}\[\]\\|]"
_ARMOUR = r"(?:[\w+/=\s:,]|\\{1,3}[nrt]|-(?!-))"
_QUOTE = r"(?:\\{0,7}[\"'])"
_QUOTE_BEGUN = r"\\{0,7}[\"']?"
_CODE = r"(?!\w[\w.]{0,99}[(\[])"
_KEY = (
    r"(?:pass(?:word|wd|phrase)|pwd|client[_-]?secret|secret[_-]?(?:access[_-]?)?key|api[_-]?(?:key|token)"
    r"|(?:access|refresh|auth|bearer|session|id)[_-]?token|account[_-]?key|shared[_-]?access[_-]?key|private[_-]?key"
    r"|secret|token|credential)"
)
_SEPARATOR = rf"{_QUOTE}?\s{{0,4}}[:=]\s{{0,4}}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of secret. In `whole` and in `begun` the group `secret` is what has to go; the rest is context."""

    name: str
    hints: Sequence[str]
    """Lower-case texts, without one of which there can be no such secret."""

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    """A pattern of a text that ends inside of one. Fixed first letters are there whole: they are nobody's secret."""

    @property
    def marker(self) -> str:
        """What stands in a secret's place. No quote, no backslash: JSON with one in it is still JSON."""
        return f"[redacted {self.name}]"


def _prefixed(
    name: str, prefixes: Sequence[str], body: str, least: int, *, hints: Sequence[str] = (), digit: bool = False
) -> Kind:
    """Secrets that begin with fixed letters: `body` is the class of the characters after them."""
    edge, need = (_EDGE, _DIGIT) if digit else ("", "")
    heads = "|".join(map(re.escape, prefixes))
    whole = re.compile(rf"{edge}(?P<secret>(?:{heads}){need}{body}{{{least},}})")
    begun = rf"{edge}(?P<secret>(?:{heads}){body}*)\Z"
    return Kind(name, [hint.lower() for hint in hints or prefixes], whole, re.compile(begun))


def _after(name: str, hints: Sequence[str], before: str, value: str, begun: str) -> Kind:
    """Secrets that are known by what stands before them."""
    whole = re.compile(f"{before}(?P<secret>{value})")
    # The lookahead for a digit asks about what has not come yet, and of a quote only its backslashes may be there.
    so_far = before.replace(_DIGIT, "")
    so_far = so_far.removesuffix(_QUOTE) + _QUOTE_BEGUN if so_far.endswith(_QUOTE) else so_far
    return Kind(name, hints, whole, re.compile(rf"{so_far}(?P<secret>{begun})\Z"))


STEMS = ("key", "secret", "token", "pass", "pwd", "cred", "sig=")
"""Lower-case texts of which the name of every `name=value` has one."""

KINDS: tuple[Kind, ...] = (
    Kind(
        "private key",
        ["-----begin "],
        re.compile(
            rf"(?P<secret>-----BEGIN [A-Z ]{{0,40}}PRIVATE KEY-----{_ARMOUR}*"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?)"
        ),
        re.compile(
            rf"(?P<secret>-----BEGIN [A-Z ]{{0,60}}(?:-{{0,5}}"
            rf"|-----{_ARMOUR}*\\{{0,3}}(?:-{{1,5}}(?:E[A-Z ]{{0,60}}-{{0,5}})?)?))\Z"
        ),
    ),
    Kind(
        "JWT",
        ["eyj"],
        re.compile(rf"{_EDGE}(?P<secret>eyJ[\w-]{{8,}}\.[\w-]{{8,}}\.[\w-]{{8,}})"),
        re.compile(rf"{_EDGE}(?P<secret>eyJ[\w-]*(?:\.[\w-]*){{0,2}})\Z"),
    ),
    _prefixed("Databricks token", ["dapi", "dose", "dkea", "dsap"], r"[0-9a-fA-F-]", 30),
    _prefixed("GitHub token", ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"], r"\w", 22),
    _prefixed("GitLab token", ["glpat-"], r"[\w-]", 20),
    _prefixed("AWS key", ["AKIA", "ASIA"], "[A-Z0-9]", 16),
    _prefixed("Google key", ["AIza", "GOCSPX-", "ya29."], r"[\w-]", 20),
    _prefixed(
        "Slack token",
        ["xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xapp-"],
        r"[\w-]",
        10,
        hints=["xox", "xapp-"],
    ),
    _prefixed(
        "API key",
        ["sk-", "sk_live_", "sk_test_", "rk_live_", "hf_"],
        r"[\w-]",
        20,
        hints=["sk-", "k_live_", "sk_test_", "hf_"],
        digit=True,
    ),
    # Of a connection string the scheme, the user and the host stay.
    _after(
        "password",
        ["://"],
        r"://[^\s/:@\"'<>]{0,128}:(?!//)",
        r"[^\s/\"'<>\\{}$\[]{1,256}(?=@)",
        r"[^\s/\"'<>\\{}$\[]{0,256}",
    ),
    _after(
        "token",
        ["bearer", "basic"],
        rf"(?i:(?:bearer|basic)(?:\s{{1,4}}|%20)){_DIGIT}",
        r"[\w.~+/=-]{12,}",
        r"[\w.~+/=-]*",
    ),
    _after(
        "password",
        ["pass", "pwd"],
        r"(?i:pass(?:word|wd|phrase)|pwd)=(?!\w{1,99}[.])",
        rf"(?!\$){_CODE}{_VALUE}{{4,}}",
        f"{_VALUE}*",
    ),
    _after("secret", STEMS, rf"(?i:{_KEY}){_SEPARATOR}{_DIGIT}",
           rf"(?!\$){_CODE}{_VALUE}{{6,}}", f"{_VALUE}*"),
    # Quoted: letters alone are a value too.
    _after("secret", STEMS, rf"(?i:{_KEY}){_SEPARATOR}{_QUOTE}",
           rf"(?!\$){_CODE}{_VALUE}{{6,}}", f"{_VALUE}*"),
    _after("signature", ["sig="], rf"{_EDGE}sig=", r"[\w%+/=-]{20,}", r"[\w%+/=-]*"),
)  # fmt: skip


HINTS: tuple[str, ...] = tuple(sorted({hint for kind in KINDS for hint in kind.hints} - {*STEMS, "://"}))
"""Lower-case texts of which every other secret has one, but for those of connection strings."""
