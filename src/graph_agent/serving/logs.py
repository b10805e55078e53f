"""Logs that give an exception's type and place, never its message: the message of third-party code may hold a token."""

import asyncio
import errno
import logging
import logging.config
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from graph_agent.foreign_errors import TRACEBACK, Fault, describe_error, dev_traceback, whole_traceback
from graph_agent.printable import one_line, printable
from graph_agent.redaction import redact, redact_value
from graph_agent.runs.log_context import log_facts
from graph_agent.serving.log_writer import StdoutHandler

logger = logging.getLogger(__name__)

_SHOWN = "shown by graph-agent"

OF_EVERY_LINE = ("request_id", "run_id", "trace_id")
"""The ids that each line of a request has, as far as they are known when the line is logged."""


class SafeFormatter(logging.Formatter):
    """Formats lines for people. Writes an exception as types and places, and no secret, whichever library logs it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record on one line. Text from a request cannot begin a line or move the terminal's cursor."""
        # Another formatter may have cached the whole traceback in the record, and `stack_info` has lines of code.
        record.exc_text = record.stack_info = None
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the exception."""
        return one_line(redact(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:
        """The exception in one line."""
        return describe_error(ei[1]) if ei[1] is not None else ""


class DevFormatter(SafeFormatter):
    """The same for the terminal of `graph-agent dev`. Below a line about an exception of the project's code it writes
    the whole traceback, redacted, once for each exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = super().format(record)
        fault = getattr(record, TRACEBACK, None)
        # The mark is set on the exception, since several records may report the same one: the tool's and the run's.
        if not isinstance(fault, Fault) or _SHOWN in vars(error := fault.error):
            return line
        vars(error)[_SHOWN] = True
        return f"{line}\n{printable(whole_traceback(error))}"

    def formatException(self, ei: Any) -> str:
        """The exception as Python prints it."""
        return printable(whole_traceback(ei[1])) if ei[1] is not None else ""


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line: `time`, `level`, `logger`, `message`, the request's ids, the
    `exception` as types and places, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        known = log_facts()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            # Before `fields`: the request's own line may have more precise values.
            **{name: known[name] for name in OF_EVERY_LINE if known.get(name)},
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe_error(record.exc_info[1])
        return _dumped(redact_value(line))


def _dumped(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=_type, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        # Mostly because of half a surrogate pair, which is not valid UTF-8.
        texts = {name: str(value).encode(errors="backslashreplace").decode() for name, value in line.items()}
        return orjson.dumps(texts).decode()


def _type(value: Any) -> str:
    return f"<{type(value).__name__}>"


def configure_logging(log_format: str, *, tracebacks: bool = False) -> None:
    """Configure every logger of this process. A second call does nothing.

    Call it before another thread imports modules. It holds logging's lock, and a thread that waits for that lock may
    hold Python's import lock (see `lazy`).
    """
    # Otherwise MLflow configures loggers when it is imported, with a handler that writes the messages of exceptions.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    if any(isinstance(handler, StdoutHandler) for handler in logging.getLogger().handlers):
        return
    logging.config.dictConfig(logging_config(log_format, tracebacks=tracebacks))
    log_uncaught_elsewhere()


def logging_config(log_format: str, *, tracebacks: bool = False) -> dict[str, Any]:
    """The configuration for `logging.config.dictConfig`: every logger of a serving process, including those of
    libraries and uvicorn. `log_format` is `json` or `text`. `tracebacks` adds tracebacks to text, for `dev` only."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {
                "()": DevFormatter if tracebacks else SafeFormatter,
                "format": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            },
            "json": {"()": JsonFormatter},
        },
        # The class and not its name: `dictConfig` would import the name while it holds logging's lock.
        "handlers": {"stdout": {"()": StdoutHandler, "formatter": log_format}},
        "filters": {"cut": {"()": lambda: _not_of_cut_streams}},
        "root": {"handlers": ["stdout"], "level": "WARNING"},
        "loggers": {
            "graph_agent": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
            "uvicorn.error": {"filters": ["cut"]},
            # LangChain logs what a callback raises, with its message. Runs are stopped by raising from a callback.
            "langchain_core.callbacks": {"level": "ERROR"},
        },
    }


def _not_of_cut_streams(record: logging.LogRecord) -> bool:
    # A stream is broken off on purpose if its client reads nothing, which is logged, or if the service stops.
    return record.msg != "ASGI callable returned without completing response."


OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Reasons why a connection cannot be accepted. asyncio reports every attempt, thousands of times a second."""

SECONDS_BETWEEN = 10.0
"""The shortest time between two log lines about such a reason."""

_reported_at = float("-inf")


def log_uncaught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The exception handler of an event loop: logs the failure of a task that no code awaited."""
    global _reported_at
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        if time.monotonic() - _reported_at < SECONDS_BETWEEN:
            return
        _reported_at = time.monotonic()
    _log(str(context.get("message")), error)


def log_uncaught_elsewhere() -> None:
    """The same for threads, destructors and warnings. Python would print them with the exception's message."""
    # Hooks of the whole process, so only our own server sets them, never an app in a host.
    threading.excepthook = lambda args: _log(
        f"uncaught in a thread {args.thread.name if args.thread else ''}", args.exc_value
    )
    sys.unraisablehook = lambda args: _log("uncaught in a destructor", args.exc_value)
    logging.captureWarnings(True)


def _log(where: str, error: BaseException | None) -> None:
    if error is None:
        logger.error("%s: no exception", where)
    else:
        logger.error("%s: %s", where, describe_error(error), extra=dev_traceback(error))
