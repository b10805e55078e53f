"""What the model of the tutorials answers, for each page: the words that the page shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.documentation.scripted_model import Answers, Messages

from graph_agent.testing import Call


def found(messages: Messages) -> str:
    """What the last tool of the turn has returned."""
    return next(str(one["content"]) for one in reversed(messages) if one["role"] == "tool")


def month(messages: Messages) -> str:
    """The answer of a model that knows what the user has said on this branch of the conversation."""
    said = str([one["content"] for one in messages if one["role"] == "user"])
    months = [one for one in ("May", "June") if one in said]
    return f"You are going in {' or '.join(months)}." if months else "You have not told me."


@dataclass(frozen=True)
class Page:
    """The answers to the questions of a page, and the questions that its documents do not answer."""

    answers: Answers
    unanswerable: Sequence[str] = field(default=())


SEARCH = Call("search_memories", {"query": "journey"})

PAGES: Mapping[str, Page] = {
    "first-graph": Page(
        {
            "What is a database?": [
                "A database is like a big toy box with labels, so that you find every toy quickly.",
            ],
            "Why is the sky blue?": [
                "The air throws blue light around, like a garden hose that sprays water everywhere.",
            ],
        }
    ),
    "your-documents": Page(
        {
            "How many days of vacation do I have?": [
                Call("search_docs", {"query": "days of vacation"}),
                "You have 28 days of vacation a year. [1]",
            ],
            "May I bring my dog to the office?": [Call("search_docs", {"query": "dog in the office"})],
            "How do I hand receipts in?": [
                Call("search_docs", {"query": "how to hand receipts in"}),
                "Send a photo of each receipt to receipts@example.com within 30 days. [1]",
            ],
            "When are dogs welcome in the office?": [
                Call("search_docs", {"query": "dogs in the office"}),
                "Dogs are welcome on Fridays. [1]",
            ],
        },
        unanswerable=["May I bring my dog to the office?"],
    ),
    "tools-and-approvals": Page(
        {
            "Where is order A1001?": [
                Call("order_status", {"order": "A1001"}),
                lambda turn: found(turn).replace(":", " was"),
            ],
            "Where is order B7?": [Call("order_status", {"order": "B7"}), lambda turn: found(turn).split(": ")[1]],
            "Cancel order A1002, I have found a better one.": [
                Call("cancel_order", {"order": "A1002", "reason": "found a better one"}),
                lambda turn: found(turn) if "rejected" not in found(turn) else "I have not canceled order A1002.",
            ],
            "Cancel order A1001, it takes too long.": [
                Call("cancel_order", {"order": "A1001", "reason": "it takes too long"}),
                "I have not canceled order A1001.",
            ],
            "How long may I take to return something?": [
                Call("search_docs", {"query": "how long to return something"}),
                "Within 30 days of delivery. [1]",
            ],
        }
    ),
    "conversations-and-memory": Page(
        {
            "I am going to Rome in May.": [SEARCH, "Rome is lovely in spring."],
            "When am I going?": [SEARCH, month],
            "No, it is June.": [SEARCH, "Then it is warmer."],
            "I do not eat meat.": [
                Call("save_memory", {"text": "The user does not eat meat."}),
                "I will remember that you do not eat meat.",
            ],
            "What do you know about my food?": [
                Call("search_memories", {"query": "food"}),
                lambda messages: json.loads(found(messages))[0]["text"],
            ],
        }
    ),
    "evaluate-and-gate": Page({}),
    "deploy": Page({}),
    "several-agents": Page(
        {
            ("transfer_to_orders", "Where is order A1001?"): [
                Call("transfer_to_orders", {"task": "Where is order A1001?"})
            ],
            ("transfer_to_orders", "Who pays for a return?"): [
                Call("transfer_to_policies", {"task": "Who pays for a return?"})
            ],
            ("transfer_to_orders", "Where is order A1002, and what does a delivery cost?"): [
                [
                    Call("transfer_to_orders", {"task": "Where is order A1002?"}),
                    Call("transfer_to_policies", {"task": "What does a delivery cost?"}),
                ],
                "Order A1002 is being packed, and a delivery costs 5 euros. [1]",
            ],
            "Where is order A1001?": [
                Call("order_status", {"order": "A1001"}),
                lambda turn: f"Order A1001 was {found(turn)}.",
            ],
            "Where is order A1002?": [
                Call("order_status", {"order": "A1002"}),
                lambda turn: f"Order A1002 is {found(turn)}.",
            ],
            "Who pays for a return?": [
                Call("search_docs", {"query": "who pays for a return"}),
                "The shop pays if the goods are damaged or wrong, otherwise the customer pays 4 euros. [1]",
            ],
            "What does a delivery cost?": [
                Call("search_docs", {"query": "cost of a delivery"}),
                "A delivery costs 5 euros. [1]",
            ],
        }
    ),
}
