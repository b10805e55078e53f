from typing import Any

from graph_agent.local.model.prompt_trimming import MARK, trim_once


def said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


SYSTEM, OLD, NEW = said("system", "s"), said("user", "old"), said("user", "new")


def test_an_old_result_is_cut_before_anything_else() -> None:
    chat = [SYSTEM, OLD, said("tool", "x" * 900), said("assistant", "y"), NEW, said("tool", "z" * 5000)]
    assert trim_once(chat) == [*chat[:2], said("tool", "x" * 200 + MARK), *chat[3:]]


def test_then_the_oldest_turn_goes() -> None:
    chat = [SYSTEM, OLD, said("assistant", "y"), said("user", "middle"), NEW, said("tool", "z" * 5000)]
    assert trim_once(chat) == [SYSTEM, *chat[3:]]


def test_then_the_longest_new_result_is_halved() -> None:
    chat = [SYSTEM, NEW, said("tool", "a" * 500), said("tool", "b" * 2000)]
    assert trim_once(chat) == [*chat[:3], said("tool", "b" * 1000 + MARK)]


def test_a_huge_result_is_cut_at_once() -> None:
    shortened = trim_once([NEW, said("tool", "b" * 10_000_000)])
    assert shortened is not None
    assert len(shortened[1]["content"]) == 16_000 + len(MARK)


def test_instructions_and_question_are_never_shortened() -> None:
    assert trim_once([said("system", "s" * 9999), said("user", "q" * 9999), said("tool", "short")]) is None


def test_shortening_ends() -> None:
    chat: list[Any] | None = [SYSTEM, OLD, said("tool", "x" * 9000), NEW, said("tool", "y" * 90_000)]
    steps = 0
    while (chat := trim_once(chat)) is not None and steps < 50:  # type: ignore[arg-type]
        steps += 1
    assert steps < 15
