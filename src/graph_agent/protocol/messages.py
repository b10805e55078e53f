"""Converts Responses items to LangChain messages and back, without loss.

What a model needs becomes messages in the order that chat models require: all calls of one turn in *one* `AIMessage`,
with the results directly behind it. Some of an item is not for a model (reasoning, unknown items), or does not fit into
a message (annotations, ids, the exact spelling of arguments). For that the original items are kept in the message's
`additional_kwargs[KEPT]`, which chat models do not read.

A run that was broken off leaves a broken history. The model still gets one that it accepts:

- A call without a result gets a result that says so. A call whose approval was denied gets a result that says that.
- A result without a call gets a call of `unknown_tool`.
- An assistant's message without text is kept, but not sent.

Messages made up in this way keep no items, so they never return to the client.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.content import annotations_of, output_text, reasoning_of, text_of
from graph_agent.protocol.item_shapes import CALL_ID, Item, check_item
from graph_agent.protocol.items_from_messages import digest, items_of_message
from graph_agent.protocol.json_decoding import MAX_VALUES, Pulse, most_values, no_pulse
from graph_agent.protocol.messages_from_items import KEPT, ItemReader

__all__ = [
    "KEPT",
    "annotations_of",
    "check_items",
    "messages_of",
    "output_text",
    "reasoning_of",
    "text_of",
    "to_items",
    "to_messages",
]


def to_messages(items: Iterable[Any], *, path: str = "input", pulse: Pulse = no_pulse) -> list[BaseMessage]:
    """The conversation that `items` record. Each message has its own id. Calls `pulse` for each item.

    Raises `InvalidRequest` with the path of what is wrong, such as `input[3].content[0].text`.
    """
    return messages_of(check_items(items, path=path, pulse=pulse), path=path, pulse=pulse)


def check_items(
    items: Iterable[Any], *, path: str = "input", references: bool = False, pulse: Pulse = no_pulse
) -> list[Item]:
    """The items with their types filled in. Calls `pulse` for each. `references` says that an `item_reference` can be
    resolved.

    Raises `InvalidRequest` with the path of what is wrong.
    """
    checked, values = [], 0
    for index, item in enumerate(items):
        pulse()
        checked.append(check_item(item, f"{path}[{index}]", references=references))
        # Arguments are JSON inside of a string, so the limit on the body's values did not count theirs.
        values += _values_of_arguments(checked[-1])
        if values > MAX_VALUES:
            param = f"{path}[{index}].arguments"
            raise InvalidRequest(
                f"`{param}` and the arguments before it contain more than {MAX_VALUES} values.", param=param
            )
    return checked


def messages_of(
    items: Sequence[Item],
    *,
    asked: Mapping[str, str] = MappingProxyType({}),
    path: str = "input",
    first: int = 0,
    summaries: Mapping[str, str] = MappingProxyType({}),
    servers: Collection[str] = (),
    pulse: Pulse = no_pulse,
) -> list[BaseMessage]:
    """The messages of checked items. `asked` are calls that the messages before them already contain: call id -> tool.
    `first` is the place of the first item in the list at `path`. `summaries` are those of compactions that were opened:
    sealed text -> summary. `servers` are the labels of the MCP servers that the client names.

    Raises `InvalidRequest` if two items have the same call id.
    """
    reader = ItemReader(items, path, first=first, asked=asked, summaries=summaries, servers=servers, pulse=pulse)
    return reader.messages()


def _values_of_arguments(item: Item) -> int:
    return most_values(item["arguments"]) if item["type"] in CALL_ID and "arguments" in item else 0


def to_items(messages: Sequence[BaseMessage]) -> list[Item]:
    """The items that record `messages`.

    A message from `to_messages` returns the items it came from, with `type` and `id` filled in; the results of a turn
    follow its calls directly. A message that was edited since is converted as it is now.
    """
    rewritten = {message.tool_call_id for message in messages if isinstance(message, ToolMessage) and _edited(message)}
    return [item for message in messages for item in _items(message, rewritten)]


def _items(message: BaseMessage, rewritten: set[str]) -> list[Item]:
    kept: list[Item] | None = message.additional_kwargs.get(KEPT, {}).get("items")
    if kept is None or _edited(message) or any(_holds_result_of(item, rewritten) for item in kept):
        return items_of_message(message)
    return kept


def _edited(message: BaseMessage) -> bool:
    kept = message.additional_kwargs.get(KEPT)
    return kept is not None and kept["of"] != digest(message)


def _holds_result_of(item: Item, rewritten: set[str]) -> bool:
    return item["type"] == "mcp_call" and item["id"] in rewritten
