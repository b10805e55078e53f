"""Steps of a graph that tell the monitor of a run at once what they do.

LangChain asks each callback about a step in a coroutine, gathers those that wait for something, and lets a task of its
own tell the end of the step. The methods of a monitor take microseconds and wait for nothing.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForChainRun, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.uuid import uuid7
from langgraph._internal._runnable import RunnableSeq
from langgraph.pregel import Pregel

MARK = "hears_steps_at_once"
"""The attribute of a callback whose methods for steps are synchronous, wait for nothing, and raise what must end the
run."""

VERSIONS = "lc_versions"
"""The only metadata that LangChain copies one level deep, because it adds to them."""


def tell_at_once(graph: Pregel[Any, Any, Any, Any]) -> None:
    """Let the steps of a graph, and of those within it, tell at once what they do, if only one callback hears it and
    has the mark. Other callbacks hear what they hear without this."""
    for one in (graph, *(inner for _, inner in graph.get_subgraphs(recurse=True))):
        # A graph within may be one of another server, which has no nodes here.
        for node in getattr(one, "nodes", {}).values():
            if type(node.node) is RunnableSeq:
                node.node = _Step(node.node)


class _Step(RunnableSeq):
    """As the base class: a node and what writes its result."""

    def __init__(self, same: RunnableSeq) -> None:
        super().__init__(*same.steps, name=same.name, trace_inputs=same.trace_inputs, trace_policy=same.trace_policy)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        callbacks = None if config is None else config.get("callbacks")
        if config is not None and type(callbacks) is AsyncCallbackManager and _only(callbacks.handlers) is not None:
            config = {**config, "callbacks": _Callbacks(**vars(callbacks))}
        return await super().ainvoke(input, config, **kwargs)


def _only(handlers: Sequence[BaseCallbackHandler]) -> BaseCallbackHandler | None:
    """The callback with the mark, if it is the only one that hears of steps."""
    first = handlers[0] if handlers else None
    if not getattr(first, MARK, False) or (len(handlers) > 1 and not all(one.ignore_chain for one in handlers[1:])):
        return None
    return first


class _Callbacks(AsyncCallbackManager):
    """As the base class, which it also is as soon as somebody adds a callback."""

    async def on_chain_start(
        self, serialized: dict[str, Any] | None, inputs: Any, run_id: UUID | None = None, **kwargs: Any
    ) -> AsyncCallbackManagerForChainRun:
        only = _only(self.handlers)
        if only is None:
            return await super().on_chain_start(serialized, inputs, run_id=run_id, **kwargs)
        if run_id is None:
            run_id = uuid7()
        only.on_chain_start(
            serialized or {},
            inputs,
            run_id=run_id,
            parent_run_id=self.parent_run_id,
            tags=self.tags,
            metadata=self.metadata,
            **kwargs,
        )
        return _CallbacksOfRun(
            run_id=run_id,
            handlers=self.handlers,
            inheritable_handlers=self.inheritable_handlers,
            parent_run_id=self.parent_run_id,
            tags=self.tags,
            inheritable_tags=self.inheritable_tags,
            metadata=self.metadata,
            inheritable_metadata=self.inheritable_metadata,
        )


class _CallbacksOfRun(AsyncCallbackManagerForChainRun):
    """As the base class. An end is told in one go, so that no cancellation comes between."""

    def get_child(self, tag: str | None = None) -> AsyncCallbackManager:
        handlers, tags = self.inheritable_handlers, self.inheritable_tags
        if _only(handlers) is None or tag in tags:
            return super().get_child(tag)
        return _Callbacks(
            handlers=[*handlers],
            inheritable_handlers=[*handlers],
            parent_run_id=self.run_id,
            tags=[*tags] if tag is None else [*tags, tag],
            inheritable_tags=[*tags],
            metadata=_copied(self.inheritable_metadata),
            inheritable_metadata=_copied(self.inheritable_metadata),
        )

    async def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        if (only := _only(self.handlers)) is None:
            await super().on_chain_end(outputs, **kwargs)
        else:
            only.on_chain_end(outputs, run_id=self.run_id, parent_run_id=self.parent_run_id, tags=self.tags, **kwargs)

    async def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        if (only := _only(self.handlers)) is None:
            await super().on_chain_error(error, **kwargs)
        else:
            only.on_chain_error(error, run_id=self.run_id, parent_run_id=self.parent_run_id, tags=self.tags, **kwargs)


def _copied(metadata: dict[str, Any]) -> dict[str, Any]:
    copy = {**metadata}
    if VERSIONS in copy:
        copy[VERSIONS] = {**copy[VERSIONS]}
    return copy
