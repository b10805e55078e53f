"""The stream of a graph: the parts that LangGraph yields while the graph runs."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from langgraph.pregel import Pregel

from graph_agent.protocol.final_state import STRUCTURED
from graph_agent.protocol.steps import TASKS
from graph_agent.protocol.translator import STREAM_MODES
from graph_agent.redaction.text import AT_ONCE


def stream_of(
    graph: Pregel[Any, Any, Any, Any],
    given: Any,
    *,
    callbacks: list[Any],
    steps: int,
    context: Any,
    stored: Mapping[str, Any] | None = None,
    resumable: bool = False,
    tells_nodes: bool = False,
) -> AsyncGenerator[Any, None]:
    """The parts of one run of `graph`, as `(namespace, mode, data)`. The caller must close it.

    `given` is the input: messages, or the command that resumes the graph, or `None` to go on at its last checkpoint.

    `stored` is what the config of a stored run has besides; the graph must have a checkpointer then. With `resumable`,
    it writes a checkpoint after each step, from which another process can go on. With `tells_nodes`, there are also
    parts that say which nodes are due and what they returned.
    """
    config: dict[str, Any] = {"callbacks": callbacks, "recursion_limit": steps}
    more: dict[str, Any] = {}
    if stored is not None:
        config |= stored
        # One checkpoint at the end of the run, also if it fails, unless the run must be resumed in its middle.
        more["durability"] = "sync" if resumable else "exit"
    # LangGraph's declared type has neither our list of modes nor `aclose`.
    untyped: Any = graph
    parts: AsyncGenerator[Any, None] = untyped.astream(
        {"messages": list(given)} if isinstance(given, Sequence) else given,
        config,
        context=context,
        output_keys=_reported_keys(graph),
        stream_mode=[*STREAM_MODES, TASKS] if tells_nodes else STREAM_MODES,
        subgraphs=True,
        **more,
    )
    return parts


def is_short(message: Any) -> bool:
    """Whether a token is translated quickly, as nearly all are. Redaction pauses in longer texts."""
    return isinstance(message.content, str) and len(message.content) <= AT_ONCE


def _reported_keys(graph: Pregel[Any, Any, Any, Any]) -> list[str] | None:
    """The keys of the state that a response reports."""
    # Other keys are not read, since they may be large. Naming the keys also overrides the graph's output schema, which
    # could hide the answer.
    if "messages" not in graph.channels:
        return None
    return [key for key in ("messages", STRUCTURED, "custom_outputs") if key in graph.channels]
