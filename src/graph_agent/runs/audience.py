"""Whose words the caller hears: decided here alone, for tokens, for what nodes return and for budgets.

Private is what happens inside a tool, and what a middleware or a parser asks a model for itself. What a graph inside a
tool returns is private like its tokens, however deep it is nested; LangGraph tells of it by a namespace only, so the
namespaces of such graphs are noted when their nodes begin.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

Namespace = tuple[str, ...]

_INTERNAL = ("lc_source", "lc_internal_call")
"""Metadata by which LangChain's middleware marks model calls of its own: summaries, emulated tools, choices."""

_SCHEMAS = ("response_format", "response_schema", "response_mime_type", "output_format", "guided_json")
"""Parameters that ask an endpoint for an answer in a schema."""


class Audience:
    """Follows the runs of one request, parent by parent."""

    def __init__(self) -> None:
        self._hiding: set[UUID] = set()
        """Runs below which nothing is heard: tools, and private runs."""
        self._heard: set[Namespace] = set()
        self._unheard: set[Namespace] = set()
        self._with_tools: set[Namespace] = set()
        """Namespaces of tasks within which a tool runs."""

    def began(self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None = None) -> bool:
        """Note a run; whether it is private."""
        private = parent_run_id in self._hiding or _is_internal(metadata)
        if private:
            self._hiding.add(run_id)
        return private

    def node_began(
        self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None, name: Any
    ) -> None:
        """Note a step of a graph, and with it whether that graph is heard."""
        private = self.began(run_id, parent_run_id, metadata)
        if metadata and name is not None and name == metadata.get("langgraph_node"):
            ns = _namespace(metadata)[:-1]
            if ns:
                (self._unheard if private else self._heard).add(ns)

    def tool_began(self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None) -> bool:
        """Note a tool, inside which all is private; whether it is private itself."""
        private = self.began(run_id, parent_run_id, metadata)
        self._hiding.add(run_id)
        if metadata and (ns := _namespace(metadata)):
            self._with_tools.add(ns)
        return private

    def hide(self, run_id: UUID) -> None:
        """That run is private for a reason of its own."""
        self._hiding.add(run_id)

    def is_private(self, run_id: UUID | None) -> bool:
        """Whether what runs below that run is."""
        return run_id in self._hiding

    def hears(self, ns: Namespace) -> bool:
        """Whether the caller hears what nodes of the graph in that namespace return."""
        if not ns:
            return True
        above = [ns[:end] for end in range(1, len(ns) + 1)]
        if any(one in self._unheard for one in above):
            return False
        # Of a graph none of whose nodes was seen to begin, as it was given other callbacks: not if a tool may be why.
        return ns in self._heard or not any(one in self._with_tools for one in above)


def _is_internal(metadata: Mapping[str, Any] | None) -> bool:
    return metadata is not None and any(metadata.get(key) for key in _INTERNAL)


def wants_schema(options: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether a model call asks for structured output, which is read by a program.

    LangChain's own models mark it; `ChatDatabricks` does not. A schema beside tools is the agent's way to answer; a
    call that must use the one tool it has is a parser's.
    """
    if "ls_structured_output_format" in options:
        return True
    tools = parameters.get("tools")
    if not tools:
        return any(_is_schema(parameters.get(key)) for key in _SCHEMAS)
    choice = parameters.get("tool_choice")
    if not isinstance(tools, list) or len(tools) != 1 or not choice:
        return False
    named = choice.get("function", choice).get("name") if isinstance(choice, Mapping) else choice
    return bool(named) and named == _tool_name(tools[0])


def _is_schema(value: Any) -> bool:
    if value is None or value in ("text/plain", "text"):
        return False
    return not (isinstance(value, Mapping) and value.get("type") == "text")


def _tool_name(tool: Any) -> Any:
    if not isinstance(tool, Mapping):
        return getattr(tool, "name", None)
    function = tool.get("function")
    return (function if isinstance(function, Mapping) else tool).get("name")


def _namespace(metadata: Mapping[str, Any]) -> Namespace:
    return tuple(str(metadata.get("langgraph_checkpoint_ns") or "").split("|"))
