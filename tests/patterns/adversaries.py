"""Texts that make a regular expression work hardest, made from its own structure.

For each repetition of a pattern: a text that leads to it, what it repeats, many times, and an end that fails. Of
characters that the pattern does not tell apart one is enough, so that few texts try everything.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

parser: Any = re._parser  # type: ignore[attr-defined]
constants: Any = re._constants  # type: ignore[attr-defined]

SPECIAL = "\0 \n\"'\\aZ7_-./:=@%+~,;é[](){}<>|&*!?#"
LOOKS = (constants.ASSERT, constants.ASSERT_NOT)
REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
MOST_ATTACKS = 300

MOST_REPEATED = 3
"""Times that a bounded or optional part stands in one sample."""


@dataclass(frozen=True)
class Attack:
    """`before`, then `pump` many times, then `after`."""

    before: str
    pump: str
    after: str

    def text(self, times: int) -> str:
        return self.before + self.pump * times + self.after


def attacks_on(pattern: re.Pattern[str], *, most: int = MOST_ATTACKS) -> list[Attack]:
    """Every repetition of the pattern pumped, and the pattern as a whole; of very many a fixed choice."""
    drawn = random.Random(pattern.pattern)
    attacks = list(dict.fromkeys(_all(pattern, drawn)))
    return attacks if len(attacks) <= most else drawn.sample(attacks, most)


def _all(pattern: re.Pattern[str], drawn: random.Random) -> Iterator[Attack]:
    tree = parser.parse(pattern.pattern, pattern.flags)
    letters = _representatives(tree, pattern.flags)
    sampler = _Sampler(letters, drawn, pattern.flags)
    for before, body in [*_repetitions(list(tree), []), ([], list(tree))]:
        # One letter wherever it fits makes the parts of the pattern compete for it.
        for preferred in [*letters, *letters, None, None, None, None]:
            pump = sampler.of(body, preferred)
            for head in {"", sampler.of(before, drawn.choice([preferred, None]))}:
                for after in ["", "\0", "!", drawn.choice(letters)]:
                    yield from (Attack(head, one, after) for one in (pump, pump[:1]) if one)


def _repetitions(nodes: Sequence[Any], before: list[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """What stands before each repetition, and what it repeats."""
    passed = list(before)
    for node in nodes:
        kind, value = node
        if kind in REPEATS:
            yield passed, list(value[2])
            yield from _repetitions(list(value[2]), passed)
        elif kind is constants.SUBPATTERN:
            yield from _repetitions(list(value[3]), passed)
        elif kind is constants.ATOMIC_GROUP:
            yield from _repetitions(list(value), passed)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from _repetitions(list(branch), passed)
        elif kind in LOOKS and value[0] > 0:
            yield from _repetitions(list(value[1]), passed)
        passed.append(node)


class _Sampler:
    def __init__(self, letters: Sequence[str], drawn: random.Random, flags: int) -> None:
        self._letters, self._drawn, self._flags = letters, drawn, flags

    def of(self, nodes: Sequence[Any], preferred: str | None = None) -> str:
        """A text that the nodes match, `preferred` wherever it fits."""
        return "".join(self._one(kind, value, preferred) for kind, value in nodes)

    def _one(self, kind: Any, value: Any, preferred: str | None) -> str:
        if kind is constants.LITERAL:
            return chr(value)
        if kind in (constants.NOT_LITERAL, constants.IN, constants.ANY):
            fitting = [letter for letter in self._letters if _fits((kind, value), letter, self._flags)]
            return preferred if preferred in fitting else self._drawn.choice(fitting) if fitting else ""
        if kind in REPEATS:
            least, most, body = value
            most = min(max(least, MOST_REPEATED), most)
            return "".join(self.of(body, preferred) for _ in range(self._drawn.randint(least, most)))
        if kind is constants.SUBPATTERN:
            return self.of(value[3], preferred)
        if kind is constants.ATOMIC_GROUP:
            return self.of(value, preferred)
        if kind is constants.BRANCH:
            return self.of(self._drawn.choice(value[1]), preferred)
        if kind is constants.ASSERT and value[0] < 0:
            return self.of(value[1], preferred)
        return ""


def _representatives(tree: Any, flags: int) -> list[str]:
    """One character of each set that the pattern tells apart."""
    sets = list(_sets(list(tree)))
    literals = {chr(value) for kind, value in sets if kind is constants.LITERAL}
    found: dict[tuple[bool, ...], str] = {}
    for letter in [*SPECIAL, *sorted(literals)]:
        found.setdefault(tuple(_fits(one, letter, flags) for one in sets), letter)
    return list(found.values())


def _sets(nodes: Sequence[Any]) -> Iterator[Any]:
    for kind, value in nodes:
        if kind in (constants.LITERAL, constants.NOT_LITERAL, constants.IN, constants.ANY):
            yield kind, value
        elif kind in REPEATS:
            yield from _sets(list(value[2]))
        elif kind is constants.SUBPATTERN:
            yield from _sets(list(value[3]))
        elif kind is constants.ATOMIC_GROUP:
            yield from _sets(list(value))
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from _sets(list(branch))
        elif kind in LOOKS:
            yield from _sets(list(value[1]))


def _fits(node: Any, letter: str, flags: int) -> bool:
    """Whether one character is of a set."""
    kind, value = node
    if kind is constants.LITERAL:
        return bool(letter == chr(value))
    if kind is constants.NOT_LITERAL:
        return bool(letter != chr(value))
    if kind is constants.ANY:
        return letter != "\n" or bool(flags & re.DOTALL)
    negated, hit = False, False
    for item, argument in value:
        if item is constants.NEGATE:
            negated = True
        elif item is constants.LITERAL:
            hit = hit or letter == chr(argument)
        elif item is constants.RANGE:
            hit = hit or argument[0] <= ord(letter) <= argument[1]
        elif item is constants.CATEGORY:
            hit = hit or _of_category(argument, letter)
    return hit != negated


def _of_category(category: Any, letter: str) -> bool:
    name = str(category)
    fits = letter.isdigit() if "DIGIT" in name else letter.isspace() if "SPACE" in name else _is_word(letter)
    return fits != ("_NOT_" in name)


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"
