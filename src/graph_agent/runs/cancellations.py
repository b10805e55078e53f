"""Ends the runs of this process that are cancelled at another process, and tells those that are steered there."""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any

from graph_agent.errors import AgentError
from graph_agent.foreign_errors import describe_error

if TYPE_CHECKING:
    from graph_agent.runs.run import Run
    from graph_agent.stores.store import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often this process looks without a signal: one may have been missed."""

AWAY_SECONDS = 5.0
"""The pause after the store did not answer."""


async def end_cancelled_runs(
    process: str,
    *,
    store: "Callable[[], Coroutine[Any, Any, Store]]",
    shares: bool,
    has_runs: Callable[[], bool],
    find: "Callable[[str], Run | None]",
) -> None:
    """Listen to cancellations and steers, until this task is cancelled.

    With `shares`, other processes on this machine use the same store. `has_runs` says whether this process has runs
    that the store knows, and `find` is one of them.
    """
    while True:
        try:
            opened = await store()
            if not (shares or opened.may_be_shared):
                # Whoever cancels asks this process.
                return
            async with opened.signals.listening(process) as news:
                while True:
                    await news.wait(LOOK_SECONDS)
                    if has_runs():
                        await _end(await opened.runs.cancelled(process), find)
                        for steered in await opened.runs.steered(process):
                            if (run := find(steered)) is not None:
                                run.steer()
        except AgentError as error:
            logger.debug("cancellations could not be read: %s", error.code)
        except Exception as error:  # noqa: BLE001 - listening must go on
            logger.error("cancellations could not be read: %s", describe_error(error))
        await asyncio.sleep(AWAY_SECONDS)


async def _end(cancelled: Collection[str], find: "Callable[[str], Run | None]") -> None:
    # All at once: a node that ignores its cancellation must not delay the others.
    runs = [run for one in cancelled if (run := find(one)) is not None and not run.over]
    await asyncio.gather(*(run.cancel() for run in runs))
