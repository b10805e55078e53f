"""Decides which output of a run is public: for tokens, for what nodes return and for budgets.

What happens inside of a tool is private, and so are the model calls that a middleware or a parser makes for itself. The
output of a graph inside of a tool is private too, at any depth. LangGraph identifies that output only by a namespace,
so the namespaces of such graphs are recorded when their nodes begin.
"""

from collections.abc import Container, Mapping
from typing import Any
from uuid import UUID

from graph_agent.found_documents import callers

Namespace = tuple[str, ...]

_SOURCE, _INTERNAL = "lc_source", "lc_internal_call"
"""Metadata with which LangChain's middleware marks its own model calls: summaries, emulated tools, choices."""

_SCHEMAS = ("response_format", "response_schema", "response_mime_type", "output_format", "guided_json")
"""Parameters that request structured output from an endpoint."""


class Audience:
    """Follows the LangChain runs of one request, from parent to child. `run_id` is always LangChain's id here."""

    def __init__(self) -> None:
        self._hiding: set[UUID] = set()
        """Runs whose children are private: tools, and private runs."""
        self._public: set[Namespace] = set()
        self._private: set[Namespace] = set()
        self._with_tools: set[Namespace] = set()
        """Namespaces of the tasks in which a tool runs."""

    def began(self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None = None) -> bool:
        """Record a run. Returns whether it is private."""
        # Its caller too, since a tool is given the config of its node, and may pass it on.
        private = _is_internal(metadata) or not self._hiding.isdisjoint(callers(parent_run_id))
        if private:
            self._hiding.add(run_id)
        return private

    def node_began(
        self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None, name: Any
    ) -> None:
        """Record a step of a graph, and with it whether that graph is public."""
        private = self.began(run_id, parent_run_id, metadata)
        # Runnables inside of a node carry the same metadata. Only the node itself also has the node's name.
        if metadata and name is not None and name == metadata.get("langgraph_node"):
            # The last part of the namespace is the node's task; without it, this is the namespace of the graph.
            ns = _namespace(metadata)[:-1]
            if ns:
                (self._private if private else self._public).add(ns)

    def tool_began(self, run_id: UUID, parent_run_id: UUID | None, metadata: Mapping[str, Any] | None) -> bool:
        """Record a tool. Everything inside of it is private. Returns whether the tool itself is private."""
        private = self.began(run_id, parent_run_id, metadata)
        self._hiding.add(run_id)
        if metadata and (ns := _namespace(metadata)):
            self._with_tools.add(ns)
        return private

    def hide(self, run_id: UUID) -> None:
        """Make a run private for a reason that its metadata does not show."""
        self._hiding.add(run_id)

    def is_private(self, run_id: UUID | None) -> bool:
        """Whether children of this run are private."""
        return run_id in self._hiding

    def hears(self, ns: Namespace) -> bool:
        """Whether the caller may see what the nodes of the graph with this namespace return."""
        if not ns:
            return True
        above = [ns[:end] for end in range(1, len(ns) + 1)]
        if any(one in self._private for one in above):
            return False
        # A graph that was called with other callbacks is unknown here. It stays private if a tool may have called it.
        return ns in self._public or not any(one in self._with_tools for one in above)


def _is_internal(metadata: Mapping[str, Any] | None) -> bool:
    # Asked for each step, model and tool of a run, and a generator takes longer than the lookups.
    return metadata is not None and bool(metadata.get(_SOURCE) or metadata.get(_INTERNAL))


def wants_schema(options: Mapping[str, Any], parameters: Mapping[str, Any], *, of_client: Container[str] = ()) -> bool:
    """Whether a model call asks for structured output, which a program reads.

    LangChain's own models mark such calls; `ChatDatabricks` does not. With several tools, a schema is the way in which
    an agent answers. A call that must use its only tool is the call of a parser, unless that
    tool is one `of_client`, which may demand it.
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
    return bool(named) and named == _tool_name(tools[0]) and named not in of_client


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
