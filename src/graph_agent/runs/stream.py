"""The stream of a graph: runs the graph, and hands on each part where it arises.

`graph.astream` would bring the same parts through a queue and several tasks, which takes more time than everything else
that the service does for a token. Order is what the queue gives, and what this keeps: a part is handed on in the moment
in which LangGraph would put it into the queue.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph._internal._constants import CONFIG_KEY_RUNTIME, CONFIG_KEY_STREAM
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import StreamProtocol
from langgraph.runtime import RunControl, Runtime

from graph_agent.protocol.final_state import STRUCTURED
from graph_agent.protocol.steps import TASKS
from graph_agent.redaction.text import AT_ONCE
from graph_agent.runs.gently import is_small

Part = tuple[tuple[str, ...], str, Any]
"""A part of the stream, as LangGraph has it: the namespace of the graph, the stream mode, and the data."""

STEPS = ["updates", "values"]
"""What the stream yields itself: only that a step is over counts."""

PUT = frozenset(STEPS)
"""What is handed on: what nodes return, and what the state holds."""

PUT_WITH_NODES = PUT | {TASKS}
"""The same, and which nodes are due and what they returned."""


def stream_of(
    graph: Pregel[Any, Any, Any, Any],
    given: Any,
    *,
    callbacks: list[Any],
    put: Callable[[Part], None],
    steps: int,
    context: Any,
    stored: Mapping[str, Any] | None = None,
    resumable: bool = False,
    tells_nodes: bool = False,
    control: RunControl | None = None,
) -> AsyncGenerator[Any, None]:
    """One run of `graph`. The stream yields something after each step, which goes on when the caller asks for more. The
    caller must close it.

    `put` gets what nodes return and what the state holds, of subgraphs too, in the thread in which it arises. Tokens
    and what tools do come from a `PartSource` in `callbacks`.

    `given` is the input: messages, or the command that resumes the graph, or `None` to go on at its last checkpoint.

    `stored` is what the config of a stored run has besides; the graph must have a checkpointer then. With `resumable`,
    it writes a checkpoint after each step, from which another process can go on. With `tells_nodes`, there are also
    parts that say which nodes are due and what they returned. `control` may stop the graph between two steps.
    """
    config: dict[str, Any] = {"callbacks": callbacks, "recursion_limit": steps}
    more: dict[str, Any] = {}
    if stored is not None:
        config |= stored
        # One checkpoint at the end of the run, also if it fails, unless the run must be resumed in its middle.
        more["durability"] = "sync" if resumable else "exit"
    modes: Any = PUT_WITH_NODES if tells_nodes else PUT
    config["configurable"] = {
        **config.get("configurable", {}),
        # What LangGraph itself sets for a graph within a graph: where its parts go, besides its own stream.
        CONFIG_KEY_STREAM: StreamProtocol(put, modes),
        # It expects this beside the other, and takes the store from there.
        CONFIG_KEY_RUNTIME: Runtime(store=graph.store),
    }
    if control is not None:
        more["control"] = control
    # LangGraph's declared type has neither our list of modes nor `aclose`.
    untyped: Any = graph
    parts: AsyncGenerator[Any, None] = untyped.astream(
        {"messages": list(given)} if isinstance(given, Sequence) else given,
        config,
        context=context,
        output_keys=_reported_keys(graph),
        stream_mode=STEPS,
        **more,
    )
    return parts


def is_short(message: BaseMessage) -> bool:
    """Whether a token is translated quickly, as nearly all are. Redaction pauses in longer texts."""
    content = message.content
    return len(content) <= AT_ONCE if isinstance(content, str) else is_small(content)


def _reported_keys(graph: Pregel[Any, Any, Any, Any]) -> list[str] | None:
    """The keys of the state that a response reports."""
    # Other keys are not read, since they may be large. Naming the keys also overrides the graph's output schema, which
    # could hide the answer.
    if "messages" not in graph.channels:
        return None
    return [key for key in ("messages", STRUCTURED, "custom_outputs") if key in graph.channels]
