"""The items that tell which tools the MCP servers of a client have: `mcp_list_tools`, in the OpenAI dialect.

The other clients know no such item. To them, a server whose tools are missing is a warning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph_agent.protocol import item_events
from graph_agent.protocol.dialects import Dialect
from graph_agent.protocol.events import Event, new_id
from graph_agent.protocol.output_items import OutputItems

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
        """A server has these tools, or there is no list because of this error."""
        if label in self._open:
            index, item_id = self._open.pop(label)
            yield item_events.tool_list_progress(item_id, index, "completed" if error is None else "failed")
            yield self._output.close(index, item_events.tool_list_item(item_id, label, tools, error))

    def break_off(self) -> Iterator[Event]:
        """Close the lists that did not come."""
        for label in list(self._open):
            yield from self.end(label, (), ENDED)
