"""Responses items <-> LangChain messages, both ways, lossless.

What a model needs to see becomes messages in the order that chat models demand: the calls of one turn in *one*
`AIMessage`, its results right behind it. What no model should see (reasoning, unknown items), and what a message
cannot say (annotations, ids, the exact spelling of arguments), is kept: the original items are in the message's
`additional_kwargs[KEPT]`, which chat models do not read.

A history can be broken, because a run was. Then the model still gets a history it accepts:

- a call without a result gets a result that says so; one whose approval was denied, a result that says that;
- a result without its call gets a call of `unknown_tool`;
- an assistant's message without text is kept, not shown.

What is made up in this way keeps no items: nothing of it goes back on the wire.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.content import annotations_of, output_text, reasoning_of, text_of
from graph_agent.protocol.items import CALL_ID, Item, check_item
from graph_agent.protocol.json_text import MAX_VALUES, Pulse, most_values, no_pulse
from graph_agent.protocol.transcript import KEPT, Transcript
from graph_agent.protocol.written import digest, written

__all__ = ["KEPT", "annotations_of", "output_text", "reasoning_of", "text_of", "to_items", "to_messages"]


def to_messages(items: Iterable[Any], *, path: str = "input", pulse: Pulse = no_pulse) -> list[BaseMessage]:
    """The conversation that `items` record, each message with an id of its own; `pulse` is called for each item.

    Raises `InvalidRequest` with the path of what is wrong, such as `input[3].content[0].text`.
    """
    checked, values = [], 0
    for index, item in enumerate(items):
        pulse()
        checked.append(check_item(item, f"{path}[{index}]"))
        values += _values_of_arguments(checked[-1])
        if values > MAX_VALUES:
            param = f"{path}[{index}].arguments"
            raise InvalidRequest(f"`{param}` and those before hold more than {MAX_VALUES} values.", param=param)
    return Transcript(checked, path, pulse=pulse).messages()


def _values_of_arguments(item: Item) -> int:
    return most_values(item["arguments"]) if item["type"] in CALL_ID else 0


def to_items(messages: Sequence[BaseMessage]) -> list[Item]:
    """The items that record `messages`.

    Messages made by `to_messages` give back the items they came from, with `type` and `id` filled in; the results of
    a turn stand right behind its calls. A message that was edited since says what it says now, and keeps nothing.
    """
    rewritten = {message.tool_call_id for message in messages if isinstance(message, ToolMessage) and _edited(message)}
    return [item for message in messages for item in _items(message, rewritten)]


def _items(message: BaseMessage, rewritten: set[str]) -> list[Item]:
    kept: list[Item] | None = message.additional_kwargs.get(KEPT, {}).get("items")
    if kept is None or _edited(message) or any(_holds_result_of(item, rewritten) for item in kept):
        return written(message)
    return kept


def _edited(message: BaseMessage) -> bool:
    kept = message.additional_kwargs.get(KEPT)
    return kept is not None and kept["of"] != digest(message)


def _holds_result_of(item: Item, rewritten: set[str]) -> bool:
    return item["type"] == "mcp_call" and item["id"] in rewritten
