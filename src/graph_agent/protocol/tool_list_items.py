"""The items that tell which tools the MCP servers of a client have: `mcp_list_tools`, in the OpenAI dialect.

The other clients know no such item. To them, a server whose tools are missing is a warning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from graph_agent.client_tools import ToolServer
from graph_agent.protocol import item_events
from graph_agent.protocol.declared_servers import addresses_in, read_allowed
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, new_id
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.output_items import OutputItems

LIST = "mcp_list_tools"
"""The type of such an item."""

ENDED = "the run ended before the tools were listed"


class ToolListItems:
    """The lists of one response."""

    def __init__(self, output: OutputItems, *, dialect: Dialect) -> None:
        self._output = output
        self._is_told = dialect.tool_items == "mcp_call"
        self._open: dict[str, tuple[int, str]] = {}

    def begin(self, labels: Sequence[str]) -> Iterator[Event]:
        """These servers are asked for their tools."""
        for label in labels if self._is_told else ():
            index, item_id = self._output.open(), new_id("mcpl")
            self._open[label] = index, item_id
            yield item_events.item_added(index, item_events.tool_list_item(item_id, label))
            yield item_events.tool_list_progress(item_id, index, "in_progress")

    def end(self, label: str, tools: Sequence[Mapping[str, Any]], error: str | None) -> Iterator[Event]:
        """A server has these tools, or there is no list because of this error. Of a server that was not begun, only an
        error is told."""
        if label not in self._open and error is not None:
            yield from self.begin([label])
        if label in self._open:
            index, item_id = self._open.pop(label)
            yield item_events.tool_list_progress(item_id, index, "completed" if error is None else "failed")
            yield self._output.close(index, item_events.tool_list_item(item_id, label, tools, error))

    def break_off(self) -> Iterator[Event]:
        """Close the lists that did not come."""
        for label in list(self._open):
            yield from self.end(label, (), ENDED)


def listed_before(servers: Sequence[ToolServer], items: Iterable[Item]) -> tuple[str, ...]:
    """The labels of the servers whose tools these items of a history list already.

    Clients may write such items themselves. So nothing is taken from them but that the client needs no other.
    """
    told = {one["server_label"] for one in items if _is_list(one)}
    return tuple(one.label for one in servers if one.label in told)


def lists_told(response: Mapping[str, Any], servers: Sequence[ToolServer]) -> Mapping[str, bool]:
    """By label, whether this response, or one before it, has told the same list.

    It says nothing of servers that its request did not name, and of no server if nothing ran.
    """
    output = response.get("output") or ()
    if not output:
        return {}
    addresses = addresses_in(response)
    said = (one for one in response.get("tools") or () if one.get("type") == "mcp")
    allowed = {one["server_label"]: one.get("allowed_tools") for one in said}
    failed = {one["server_label"] for one in output if one["type"] == LIST and not _is_list(one)}
    return {
        one.label: one.label not in failed
        and addresses.get(one.label) == one.url
        and read_allowed(allowed[one.label], "allowed_tools") == one.allowed
        for one in servers
        if one.label in allowed
    }


def _is_list(item: Item) -> bool:
    return item["type"] == LIST and isinstance(item.get("server_label"), str) and not item.get("error")
