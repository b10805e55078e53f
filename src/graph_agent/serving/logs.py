"""Logs that say where and of what type an exception was, never what it said: a stranger's message may hold a token."""

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
"""What each line of a request tells, as far as it is known by then."""


class SafeFormatter(logging.Formatter):
    """Lines for people. Writes an exception as types and code places, and no secret, whoever logs it."""

    def format(self, record: logging.LogRecord) -> str:
        """One record on one line: a request can neither begin another nor move the cursor of who reads it."""
        # Another formatter may have left the whole traceback there, and code lines there.
        record.exc_text = record.stack_info = None
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the exception."""
        return one_line(redact(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:
        """The exception in one line."""
        return describe_error(ei[1]) if ei[1] is not None else ""


class DevFormatter(SafeFormatter):
    """The same for the terminal of `graph-agent dev`: below a line about somebody's exception its whole traceback,
    redacted, once for each exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        line = super().format(record)
        fault = getattr(record, TRACEBACK, None)
        if not isinstance(fault, Fault) or _SHOWN in vars(error := fault.error):
            return line
        vars(error)[_SHOWN] = True
        return f"{line}\n{printable(whole_traceback(error))}"

    def formatException(self, ei: Any) -> str:
        """The exception as Python prints it."""
        return printable(whole_traceback(ei[1])) if ei[1] is not None else ""


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time`, `level`, `logger`, `message`, the request's ids, the `exception` as types and
    places, and what the record carries as `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        known = log_facts()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
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
        # Half of a surrogate pair, mostly.
        texts = {name: str(value).encode(errors="backslashreplace").decode() for name, value in line.items()}
        return orjson.dumps(texts).decode()


def _type(value: Any) -> str:
    return f"<{type(value).__name__}>"


def configure_logging(log_format: str, *, tracebacks: bool = False) -> None:
    """Configure every logger of this process, unless that was done. Call it before any thread imports: it holds
    logging's lock, for which one who imports may wait with Python's import lock in hand (`lazy`)."""
    # Else MLflow configures loggers as it is imported, with a handler that writes what exceptions say.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    if any(isinstance(handler, StdoutHandler) for handler in logging.getLogger().handlers):
        return
    logging.config.dictConfig(logging_config(log_format, tracebacks=tracebacks))
    log_uncaught_elsewhere()


def logging_config(log_format: str, *, tracebacks: bool = False) -> dict[str, Any]:
    """The configuration of every logger of a serving process, libraries' and uvicorn's included, as `dictConfig`
    wants it; `log_format` is `json` or `text`. With `tracebacks`, text is for the terminal of `dev` alone."""
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
        # The class itself: by its name it would be imported with the lock held.
        "handlers": {"stdout": {"()": StdoutHandler, "formatter": log_format}},
        "root": {"handlers": ["stdout"], "level": "WARNING"},
        "loggers": {
            "graph_agent": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
            # It quotes whatever a callback raises, and stopping a run is done by raising from one.
            "langchain_core.callbacks": {"level": "ERROR"},
        },
    }


OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Reasons why a connection cannot be opened. asyncio tells each, thousands of times in a second."""

SECONDS_BETWEEN = 10.0
"""Two lines about them."""

_told_at = float("-inf")


def log_uncaught(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An event loop's exception handler: a task nobody waited for has failed."""
    global _told_at
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
        if time.monotonic() - _told_at < SECONDS_BETWEEN:
            return
        _told_at = time.monotonic()
    _log(str(context.get("message")), error)


def log_uncaught_elsewhere() -> None:
    """The same for threads, destructors and warnings, which Python otherwise prints with what the exception says."""
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
