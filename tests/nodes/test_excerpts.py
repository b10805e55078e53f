"""What the model sees of long passages: `make_retriever(longest_passage=…)`."""

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage

from graph_agent import make_retriever
from graph_agent.errors import ConfigurationError
from graph_agent.nodes.excerpts import SHARES

pytestmark = pytest.mark.anyio

FILLER = "The yard is wide and quiet. "
ROWS = "\n".join(f"| `setting_{number}` | {number} | It has a meaning of its own. |" for number in range(40))


class Shelf:
    """Finds the same passages whatever it is asked."""

    name = "search_docs"

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    async def search(self, query: str) -> list[tuple[Document, float]]:
        return [
            (Document(text, metadata={"chunk_id": f"p{number}", "doc_uri": f"docs/p{number}.md"}), 0.9)
            for number, text in enumerate(self._texts)
        ]


async def found(question: str, *texts: str, **options: Any) -> tuple[list[str], list[str]]:
    """What the model sees of the passages, and what the state has of them."""
    call = {"id": "c1", "name": "search_docs", "args": {"query": "pump"}}
    messages = [HumanMessage(question), AIMessage("", tool_calls=[call])]
    update = await make_retriever(Shelf(*texts), **options)({"messages": messages}, {})
    listing = str(update["messages"][0].content)
    numbers = [listing.index(f"[{number}] ") for number in range(1, len(texts) + 1)]
    shown = [listing[start:end].strip() for start, end in zip(numbers, [*numbers[1:], None], strict=True)]
    return [text.partition(" ")[2] for text in shown], [source.text for source in update["sources"]]


async def test_of_a_long_passage_the_model_sees_the_heading_and_the_sentences_about_the_question() -> None:
    passage = f"Pumps > At night\n\n{FILLER * 20}The pump stops at 22:45. {FILLER * 20}"
    shown, kept = await found("When does the pump stop?", passage, longest_passage=200)
    assert shown[0].startswith("Pumps > At night\n…\n")
    assert "The pump stops at 22:45." in shown[0]
    assert len(shown[0]) <= 200
    assert kept == [passage]


async def test_of_a_table_the_model_sees_the_rows_about_the_question() -> None:
    shown, _ = await found("What is the default of setting_31?", f"Settings\n\n{ROWS}", longest_passage=200)
    assert "| `setting_31` | 31 |" in shown[0]


async def test_of_a_text_without_spaces_the_model_sees_the_sentence_about_the_question() -> None:
    passage = f"{'庭は広くて静かです。' * 30}ポンプは夜に止まります。{'庭は広くて静かです。' * 30}"
    shown, _ = await found("ポンプはいつ止まりますか", passage, longest_passage=100)
    assert "ポンプは夜に止まります。" in shown[0]


async def test_what_the_question_before_was_about_counts_for_a_short_question() -> None:
    passage = f"{FILLER * 20}\n\nThe ventilator uses port 8100.\n\n{FILLER * 20}"
    messages = [
        HumanMessage("Tell me about the ventilator"),
        AIMessage("It blows."),
        HumanMessage("And which one?"),
        AIMessage("", tool_calls=[{"id": "c1", "name": "search_docs", "args": {"query": "which"}}]),
    ]
    update = await make_retriever(Shelf(passage), longest_passage=120)({"messages": messages}, {})
    assert "The ventilator uses port 8100." in update["messages"][0].content


async def test_later_passages_get_less_than_the_first_and_short_ones_stay_whole() -> None:
    long = FILLER * 40
    shown, _ = await found("pump?", long, long, "The pump is green.", long, long, longest_passage=400)
    assert [len(text) <= 400 * share for text, share in zip(shown, [*SHARES, SHARES[-1]], strict=True)] == [True] * 5
    assert len(shown[1]) < len(shown[0])
    assert shown[2] == "The pump is green."


async def test_without_a_limit_the_model_sees_whole_passages() -> None:
    shown, _ = await found("pump?", FILLER.strip() * 100)
    assert shown == [FILLER.strip() * 100]


def test_a_limit_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="longest_passage must be at least 100 characters, not 10"):
        make_retriever(Shelf(), longest_passage=10)
