"""Logs that say where and of what type an exception was, never what it said: a stranger's message may hold a token."""

import asyncio
import logging
import sys
import threading
from typing import Any

from graph_agent.runs.failures import describe

logger = logging.getLogger(__name__)


class DiscreetFormatter(logging.Formatter):
    """Writes an exception as types and code places, also where a library or a graph logs its traceback."""

    def formatException(self, ei: Any) -> str:
        """The exception in one line."""
        return describe(ei[1]) if ei[1] is not None else ""


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": DiscreetFormatter, "format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "graph_agent": {"level": "INFO"},
        "uvicorn": {"level": "INFO"},
        # It quotes whatever a callback raises, and stopping a run is done by raising from one.
        "langchain_core.callbacks": {"level": "ERROR"},
    },
}


def log_uncaught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: a task nobody waited for has failed."""
    error = context.get("exception")
    logger.error("%s: %s", context.get("message"), describe(error) if error else "no exception")


def log_uncaught_elsewhere() -> None:
    """The same for threads and destructors, which Python otherwise prints with what the exception says."""
    threading.excepthook = lambda args: _log(f"thread {args.thread.name if args.thread else ''}", args.exc_value)
    sys.unraisablehook = lambda args: _log("destructor", args.exc_value)


def _log(where: str, error: BaseException | None) -> None:
    logger.error("uncaught in a %s: %s", where, describe(error) if error else "no exception")
