"""Makes a graph from what a graph's file exports: a graph, a factory, or a context manager."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from graph_agent.foreign_errors import describe_error

logger = logging.getLogger(__name__)

Manager = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]


class Factories:
    """Makes graphs. `aclose()` exits the context managers that made some of them, the last one first."""

    def __init__(self) -> None:
        self._held: list[_Held] = []

    async def make(self, exported: Any) -> Any:
        """Return the graph, or whatever the factory returned instead. Raises what the factory raises."""
        if isinstance(exported, Pregel | StateGraph) or not callable(exported):
            return exported
        product = _call(exported)
        if inspect.isawaitable(product):
            product = await product
        if isinstance(product, Pregel) or not isinstance(product, AbstractContextManager | AbstractAsyncContextManager):
            return product
        held = _Held(product)
        graph = await held.open()
        self._held.append(held)
        return graph

    async def aclose(self) -> None:
        """Exit every context manager."""
        while self._held:
            await self._held.pop().close()


@dataclass(slots=True)
class _Held:
    """A context manager that one dedicated task enters and exits: a task group inside of it requires the same task."""

    manager: Manager
    opened: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None

    async def open(self) -> Any:
        self.task = asyncio.create_task(self._hold())
        return await self.opened

    async def close(self) -> None:
        self.closing.set()
        if self.task is not None:
            await asyncio.wait([self.task])

    async def _hold(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                self.opened.set_result(await _entered(stack, self.manager))
                await self.closing.wait()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the context manager is third-party code
            if not self.opened.done():
                self.opened.set_exception(error if isinstance(error, Exception) else RuntimeError("exited"))
            else:
                logger.error("the context manager of a graph's factory failed: %s", describe_error(error))


async def _entered(stack: AsyncExitStack, manager: Manager) -> Any:
    if isinstance(manager, AbstractAsyncContextManager):
        return await stack.enter_async_context(manager)
    return stack.enter_context(manager)


def _call(factory: Callable[..., Any]) -> Any:
    takes = [
        parameter
        for parameter in inspect.signature(factory).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    return factory({"configurable": {}}) if takes else factory()
