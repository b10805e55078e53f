"""Which passages are copies of others."""

import pytest

from graph_agent.copies import distinct

PUMP = (
    "The pump runs at forty bar, and its seal lasts for two thousand hours of work. Before it is opened, the valve in "
    "the yard must be closed, and the pressure let off through the small tap behind the tank."
)


def originals(*texts: str, most: int | None = None) -> list[tuple[str, int]]:
    """The passages that are left, each with the number of its copies."""
    return [(one.passage, len(one.copies)) for one in distinct(texts, text=str, most=most)]


@pytest.mark.parametrize(
    "copy",
    [
        PUMP,
        PUMP.replace(" ", "\n"),
        PUMP.upper(),
        PUMP.replace("f", "\uff46"),
        f"{PUMP} Copied.",
        PUMP.replace("The pump", "A pump"),
    ],
    ids=["identical", "other line ends", "other case", "wide letters", "a word more", "another word"],
)
def test_a_passage_that_says_the_same_is_a_copy(copy: str) -> None:
    assert originals(PUMP, copy) == [(PUMP, 1)]


@pytest.mark.parametrize(
    "other",
    [
        f"{PUMP} In 2020.",
        PUMP.replace("must be", "must not be"),
        PUMP.replace("two thousand hours of work", "as long as it is oiled on every single day"),
        "The fan turns.",
        "",
    ],
    ids=["a number more", "denied", "many other words", "short", "empty"],
)
def test_a_passage_that_says_something_else_is_none(other: str) -> None:
    assert originals(PUMP, other) == [(PUMP, 0), (other, 0)]


def test_a_number_with_another_sign_is_another_number() -> None:
    assert len(originals(f"{PUMP} At <3 bar.", f"{PUMP} At >3 bar.")) == 2


def test_short_passages_are_copies_only_if_they_are_identical() -> None:
    assert originals("Set the port.", "Set  the PORT.", "Set the host.") == [("Set the port.", 1), ("Set the host.", 0)]


def test_behind_the_last_passage_that_is_wanted_only_copies_count() -> None:
    assert originals("One.", "Two.", "Three.", "one.", most=2) == [("One.", 1), ("Two.", 0)]


@pytest.mark.parametrize(
    ("outermost", "others"),
    [
        ("returns.md", ["a/b/returns.md", "a/returns.md"]),
        ("shop/returns.md", ["backup/returns.md"]),
        ("b.md#a/section/with/a/path", ["a/a.md#one"]),
        ("a/b/returns.md", [None]),
        ("a/returns.md", ["b/returns.md"]),
    ],
    ids=["depth", "length", "section", "no address", "name"],
)
def test_identical_passages_stand_in_their_outermost_place_whatever_their_order(
    outermost: str, others: list[str | None]
) -> None:
    for order in ([outermost, *others], [*others, outermost]):
        [one] = distinct(order, text=lambda _: PUMP)
        assert one.outermost(lambda place: place) == outermost
