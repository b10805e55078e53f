"""Routers that decide on the event loop.

LangGraph lets a thread decide at each conditional edge whose function is synchronous, because that may wait for
something. To hand a decision to a thread and back takes longer than most routers take to decide.
"""

import sys
from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

_QUICK: "WeakSet[Callable[..., Any]]" = WeakSet()
"""Routers that only look at the state. Not an attribute of theirs: `functools.wraps` copies attributes to functions
around a router, which may wait for something."""

AnyRouter = TypeVar("AnyRouter", bound=Callable[..., Any])


def quick(router: AnyRouter) -> AnyRouter:
    """Mark a router that takes microseconds and waits for nothing."""
    _QUICK.add(router)
    return router


def decide_at_once(graph: "Pregel[Any, Any, Any, Any]") -> None:
    """Let the quick routers of a graph decide where it runs, and those of the graphs within it.

    LangGraph's `tools_condition` is one. Other routers decide in a thread as before. Graphs may also be run without an
    event loop, where nothing changes.
    """
    for one in (graph, *(inner for _, inner in graph.get_subgraphs(recurse=True))):
        branches = getattr(getattr(one, "builder", None), "branches", {})
        for branch in [branch for named in branches.values() for branch in named.values()]:
            router = getattr(branch.path, "func", None)
            if router is not None and hasattr(branch.path, "afunc") and _is_quick(router):
                branch.path.afunc = _at_once(router)


def _is_quick(router: Callable[..., Any]) -> bool:
    # Whoever uses it has imported it.
    prebuilt = sys.modules.get("langgraph.prebuilt.tool_node")
    if prebuilt is not None and router is prebuilt.tools_condition:
        return True
    # The others may have no hash, or be equal to a function that they are not.
    return isinstance(router, FunctionType) and router in _QUICK


def _at_once(router: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(router)
    async def decide(*given: Any, **named: Any) -> Any:
        return router(*given, **named)

    return decide
