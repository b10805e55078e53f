"""Decides which Responses items become one LangChain message, and in which order.

A turn of the assistant begins with its first text or call, and ends at its first result or at the next message of
somebody else. It becomes one `AIMessage`. The results of its calls follow directly, wherever they are in the list,
because model endpoints require that. Items that no model reads are kept with the next message, or with the last one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage

from graph_agent.client_tools import bound_name, served_name
from graph_agent.protocol.call_pairing import arguments_of, call_id_of, pair
from graph_agent.protocol.content_parts import assistant_text, content_of
from graph_agent.protocol.item_shapes import CALL_ID, CLIENT_CALLS, OUTPUTS, RESULT_ID, Item
from graph_agent.protocol.items_from_messages import OPENAI_ROLE, call_item_id, digest, items_of_message, new_id
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.summaries import summary_message

KEPT = "responses_items"
"""Key in `additional_kwargs`: `{"items": original items of this message, "of": digest of what it said then}`."""

NO_RESULT = "No result of this call was recorded."
APPROVED = "The user approved this call; no result of it was recorded."
DENIED = "The user denied this call; it was not made."
UNKNOWN_TOOL = "unknown_tool"


@dataclass(slots=True)
class _Turn:
    """What the assistant says before the next result or the next message of somebody else."""

    items: list[Item] = field(default_factory=list)
    speech: Item | None = None
    calls: list[Item] = field(default_factory=list)
    call_ids: set[str] = field(default_factory=set)

    def text(self) -> str:
        return assistant_text(self.speech["content"]) if self.speech else ""

    def is_silent(self) -> bool:
        return not self.calls and not self.text()

    def message(self, message_id: str, servers: Collection[str]) -> AIMessage:
        calls = [
            ToolCall(name=_name_for_model(one, servers), args=arguments_of(one), id=call_id_of(one), type="tool_call")
            for one in self.calls
        ]
        return AIMessage(self.text(), tool_calls=calls, id=message_id)


class ItemReader:
    """Reads a list of items once; `path` is the path of the list in the request.

    `first` is the place of the first item in that list. It is negative if items of the conversation come first.

    `asked` are calls that the conversation before these items already contains: call id -> tool.

    `summaries` are those of compactions that were opened: sealed text -> summary.

    `servers` are the labels of the MCP servers that the client names: the model knows their tools by longer names.

    Takes time linear in the size of the items and calls `pulse` for each. Raises `InvalidRequest` if two items have the
    same call id.
    """

    def __init__(
        self,
        items: Sequence[Item],
        path: str,
        *,
        first: int = 0,
        asked: Mapping[str, str] = MappingProxyType({}),
        summaries: Mapping[str, str] = MappingProxyType({}),
        servers: Collection[str] = (),
        pulse: Pulse = no_pulse,
    ) -> None:
        self._pulse = pulse
        self._servers = servers
        self._summaries = summaries
        self._earlier = asked
        self._items = [_identified(item) for item in items]
        self._pairs = pair(self._items, path, first=first, pulse=pulse)
        for call_id in self._pairs.calls.keys() & asked.keys():
            # A response that asks again repeats a call.
            self._pairs.unread.add(self._pairs.calls.pop(call_id))
        self._made: list[tuple[BaseMessage, list[Item]]] = []
        self._ids: set[str] = set()
        self._loose: list[Item] = []
        self._turn = _Turn()

    def messages(self) -> list[BaseMessage]:
        """The messages, in order."""
        self._answer_earlier_calls()
        for index, item in enumerate(self._items):
            self._pulse()
            self._read(index, item)
        self._close_turn()
        self._keep_last_loose_items()
        return [self._keeping(message, items) for message, items in self._made]

    def _answer_earlier_calls(self) -> None:
        """Results of earlier calls come first, because model endpoints want each result directly behind its call."""
        for call_id, index in self._pairs.results.items():
            if call_id in self._earlier and call_id not in self._pairs.calls:
                item = self._items[index]
                self._make(self._answer(item, self._earlier[call_id]), item)

    def _keeping(self, message: BaseMessage, items: list[Item]) -> BaseMessage:
        self._pulse()
        if items_of_message(message) != items:
            message.additional_kwargs[KEPT] = {"items": items, "of": digest(message)}
        return message

    # Item by item

    def _read(self, index: int, item: Item) -> None:
        match item:
            case _ if index in self._pairs.unread:
                self._loose.append(item)
            case {"type": "message", "role": "assistant"}:
                self._speak(item)
            case {"type": "message"}:
                self._close_turn()
                self._make(_heard(item, self._id(item)), item)
            case {"type": "mcp_call"}:
                self._call(item)
                self._close_turn()
            case {"type": kind} if kind in CALL_ID:
                self._call(item)
            case {"type": kind} if kind in RESULT_ID:
                self._result(item)
            case {"type": "compaction", "encrypted_content": sealed} if sealed in self._summaries:
                self._close_turn()
                self._made.append((summary_message(self._summaries[sealed], self._id(item, "cmp")), self._take_loose()))
            case _:
                self._loose.append(item)

    def _speak(self, item: Item) -> None:
        # A turn without text stays open: moving its items for each such message would take quadratic time.
        if not self._turn.is_silent():
            self._close_turn(loose_items_follow=True)
        self._turn.items += [*self._take_loose(), item]
        self._turn.speech = item

    def _call(self, item: Item) -> None:
        self._turn.items += [*self._take_loose(), item]
        self._turn.calls.append(item)
        self._turn.call_ids.add(call_id_of(item))

    def _result(self, item: Item) -> None:
        call_id = call_id_of(item)
        if call_id not in self._pairs.calls and call_id in self._earlier:
            return
        if call_id not in self._pairs.calls:
            self._close_turn()
            self._make_up_call(call_id)
            self._make(self._answer(item, UNKNOWN_TOOL), item)
        elif call_id in self._turn.call_ids:
            self._close_turn()

    # Turn by turn

    def _close_turn(self, *, loose_items_follow: bool = False) -> None:
        turn, self._turn = self._turn, _Turn()
        if turn.is_silent():
            # Model endpoints refuse an assistant's message that is empty.
            self._loose = [*turn.items, *self._loose]
            return
        if not loose_items_follow:
            turn.items += self._take_loose()
        said = turn.message(self._id(turn.speech or turn.calls[0]), self._servers)
        self._made.append((said, turn.items))
        for call in sorted(turn.calls, key=self._place_of_result):
            self._make_result(call)

    def _place_of_result(self, call: Item) -> float:
        return self._pairs.results.get(call_id_of(call), math.inf)

    def _make_result(self, call: Item) -> None:
        index = self._pairs.results.get(call_id_of(call))
        if index is not None:
            name = _name_for_model(call, self._servers)
            self._made.append((self._answer(self._items[index], name), [self._items[index]]))
            return
        result = _own_result(call)
        failed = result is None or bool(call.get("error"))
        message = ToolMessage(
            NO_RESULT if result is None else result,
            tool_call_id=call_id_of(call),
            name=_name_for_model(call, self._servers),
            status="error" if failed else "success",
            id=self._id({}, "fco"),
        )
        self._made.append((message, []))

    def _answer(self, item: Item, tool: str) -> ToolMessage:
        call_id = call_id_of(item)
        if item["type"] in OUTPUTS:
            return ToolMessage(content_of(item["output"]), tool_call_id=call_id, name=tool, id=self._id(item, "fco"))
        verdict = APPROVED if item["approve"] else DENIED
        return ToolMessage(verdict, tool_call_id=call_id, name=tool, status="error", id=self._id(item, "fco"))

    def _make_up_call(self, call_id: str) -> None:
        call = ToolCall(name=UNKNOWN_TOOL, args={}, id=call_id, type="tool_call")
        self._made.append((AIMessage("", tool_calls=[call], id=self._id({})), []))

    def _make(self, message: BaseMessage, item: Item) -> None:
        self._made.append((message, [*self._take_loose(), item]))

    def _take_loose(self) -> list[Item]:
        loose, self._loose = self._loose, []
        return loose

    def _keep_last_loose_items(self) -> None:
        if not self._loose:
            return
        if not self._made:
            self._made.append((AIMessage("", id=self._id({})), []))
        # With the last message that returns any items: the others are made up and return none.
        own = next((items for _, items in reversed(self._made) if items), self._made[-1][1])
        own += self._take_loose()

    def _id(self, item: Item, prefix: str = "msg") -> str:
        wanted = item.get("id")
        chosen = wanted if wanted and wanted not in self._ids else new_id(prefix)
        self._ids.add(chosen)
        return chosen


def _identified(item: Item) -> Item:
    """The item with an id, if items of its type have one. Clients may leave it out."""
    if item.get("id") is not None:
        return item
    match item["type"]:
        case "message":
            return {**item, "id": new_id("msg")}
        case "function_call":
            return {**item, "id": call_item_id(item["call_id"])}
        case "custom_tool_call":
            return {**item, "id": f"ctc_{item['call_id']}"}
        case "function_call_output" | "custom_tool_call_output":
            return {**item, "id": new_id("fco")}
    return item


def _heard(item: Item, message_id: str) -> BaseMessage:
    content = content_of(item["content"])
    match item["role"]:
        case "user":
            return HumanMessage(content, id=message_id)
        case "developer":
            return SystemMessage(content, id=message_id, additional_kwargs={OPENAI_ROLE: "developer"})
    return SystemMessage(content, id=message_id)


def _name_for_model(call: Item, servers: Collection[str]) -> str:
    """The tool of a call as the model knows it: tools in namespaces and of servers are bound under names of their
    own."""
    if call["type"] in CLIENT_CALLS:
        return bound_name(call["name"], call.get("namespace"))
    name: str = call["name"]
    label = call.get("server_label")
    return served_name(name, label) if isinstance(label, str) and label in servers else name


def _own_result(call: Item) -> str | None:
    """The result that an `mcp_call` contains."""
    match call:
        case {"type": "mcp_call", "output": str(output)}:
            return output
        case {"type": "mcp_call", "error": str(error)}:
            return error
        case {"type": "mcp_call", "error": {"message": str(error)}}:
            return error
    return None
