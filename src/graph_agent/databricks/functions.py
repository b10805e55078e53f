"""Unity Catalog functions as tools, run on a SQL warehouse as the app or as the user.

tools = uc_functions("main.tools.price", "main.tools.stock", warehouse="0123456789abcdef")
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.tools import ToolException

from graph_agent.app_context import PerApp, current_settings
from graph_agent.contract import ListedTools
from graph_agent.databricks.api_calls import ApiCalls
from graph_agent.databricks.clients import Actor
from graph_agent.databricks.remote_tool import RemoteTool, Result, shorten
from graph_agent.errors import ConfigurationError, ToolFailed

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.catalog import FunctionInfo
    from databricks.sdk.service.sql import StatementResponse

logger = logging.getLogger(__name__)

READ_SECONDS = 10.0
"""Limit for reading a function's parameters. A turn waits for it."""

PAUSE_SECONDS = 30.0
"""Time until a function that could not be read is tried again."""

WAIT_SECONDS = 5
"""How long the warehouse holds the request open for a quick statement. The service accepts 5 to 50."""

MOST_PAUSES = 1024
"""Failures remembered at the same time, one per function and user."""


def uc_functions(*names: str, warehouse: str | None = None, acting_as: Actor | None = None) -> "Functions":
    """A tool source of the functions named `catalog.schema.function`. Creating it makes no call.

    `warehouse` is the id of the SQL warehouse that runs them; `None` takes `DATABRICKS_WAREHOUSE_ID`. The first use
    reads a function's parameters, once for all users. Databricks checks the permission to run it in every call.

    Raises:
        ConfigurationError: a name does not have that form.
    """
    for name in names:
        if len(parts := name.split(".")) != 3 or not all(parts):
            raise ConfigurationError(f"{name!r} does not name a function; write it as catalog.schema.function")
    return Functions(names, warehouse=warehouse, acting_as=acting_as)


@dataclass
class _Known:
    """The functions of one workspace that were read, and those that could not be read."""

    tools: dict[str, RemoteTool] = field(default_factory=dict)
    pauses: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    """By function and identity: when to try again, and the warning until then."""


class Functions:
    """See `uc_functions`."""

    def __init__(self, names: tuple[str, ...], *, warehouse: str | None, acting_as: Actor | None) -> None:
        self._names = names
        self._warehouse = warehouse
        self._reads = ApiCalls("the function", grant="EXECUTE on it and USE on its schema", acting_as=acting_as)
        self._runs = ApiCalls(
            "the SQL warehouse", grant="CAN USE on it and EXECUTE on the function", acting_as=acting_as
        )
        self._known = PerApp(_Known)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions, as `catalog.schema.function`."""
        return self._names

    @property
    def warehouse(self) -> str | None:
        """The id of the warehouse that was given for them."""
        return self._warehouse

    async def tools(self) -> ListedTools:
        """The functions that can be read, and a warning for each of the others.

        Raises:
            Unauthenticated: they act for the user, and there is no token or it has expired.
        """
        key, known = self._reads.identity(), self._known()
        read = (self._read(name, key, known) for name in self._names)
        warnings = [one for one in await asyncio.gather(*read) if one]
        return ListedTools([known.tools[name] for name in self._names if name in known.tools], warnings)

    async def _read(self, name: str, key: str, known: _Known) -> str | None:
        """Create the function's tool unless it exists. Returns a warning if the function cannot be read."""
        if name in known.tools:
            return None
        until, warning = known.pauses.get((name, key), (0.0, ""))
        if time.monotonic() < until:
            return warning
        try:
            seconds = min(READ_SECONDS, current_settings().request_seconds)
            function = await self._reads.ask(lambda client: client.functions.get(name), seconds=seconds)
        except ToolFailed as failure:
            warning = f"The function {name} is not available now: {failure.message}."
            logger.warning("the function %s is not available: %s", name, failure.message)
            # Clearing all is enough: each entry only saves a repeated failure.
            if len(known.pauses) >= MOST_PAUSES:
                known.pauses.clear()
            known.pauses[name, key] = (time.monotonic() + PAUSE_SECONDS, warning)
            return warning
        from graph_agent.databricks.function_sql import schema

        known.tools[name] = RemoteTool(
            # Chat endpoints accept 64 characters. The last 64, as functions of one schema begin alike.
            name="".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name.replace(".", "__"))[-64:],
            description=function.comment or f"The function {name}.",
            args_schema=schema(function),
            ask=self._caller(function),
        )
        return None

    def _caller(self, function: "FunctionInfo") -> Callable[[dict[str, Any]], Awaitable[Result]]:
        async def ask(arguments: dict[str, Any]) -> Result:
            return await self._run(function, arguments)

        return ask

    async def _run(self, function: "FunctionInfo", arguments: dict[str, Any]) -> Result:
        """The result of the function.

        Raises:
            ToolFailed: the warehouse refused, failed or took too long.
            ToolException: the arguments do not match, or the statement failed; for the model only.
        """
        from databricks.sdk.service.sql import StatementState

        from graph_agent.databricks.function_sql import result

        response = await self._executed(function, arguments)
        state = response.status.state if response.status else None
        if state == StatementState.SUCCEEDED:
            return result(function, response)
        error = response.status.error if response.status else None
        raise ToolException(shorten((error.message if error else None) or f"the statement ended as {state}", 500))

    async def _executed(self, function: "FunctionInfo", arguments: dict[str, Any]) -> "StatementResponse":
        """The statement's final state. The statement is cancelled if its caller leaves or the time is up."""
        from databricks.sdk.service.sql import ExecuteStatementRequestOnWaitTimeout, StatementState

        from graph_agent.databricks.function_sql import MOST_ROWS, statement

        text, values = statement(function, arguments)
        seconds = current_settings().request_seconds

        def execute(client: "WorkspaceClient") -> "StatementResponse":
            return client.statement_execution.execute_statement(
                text,
                self._warehouse_of(client),
                parameters=values,
                row_limit=MOST_ROWS,
                wait_timeout=f"{WAIT_SECONDS}s",
                on_wait_timeout=ExecuteStatementRequestOnWaitTimeout.CONTINUE,
            )

        ends = time.monotonic() + seconds
        response = await self._runs.ask(execute, seconds=seconds, left=lambda client, begun: _cancel(client, begun))
        identifier, pause = response.statement_id or "", 0.5
        try:
            while response.status and response.status.state in (StatementState.PENDING, StatementState.RUNNING):
                if time.monotonic() + pause >= ends:
                    raise ToolFailed(f"the function did not end within {seconds:g} s and was cancelled")
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 3.0)
                response = await self._runs.ask(
                    lambda client: client.statement_execution.get_statement(identifier),
                    seconds=max(ends - time.monotonic(), 0.1),
                )
        except (ToolFailed, asyncio.CancelledError):
            # A statement that nobody waits for would still run, and cost money.
            self._runs.leave(lambda client: client.statement_execution.cancel_execution(identifier))
            raise
        return response

    def _warehouse_of(self, client: "WorkspaceClient") -> str:
        warehouse = self._warehouse or client.config.warehouse_id
        if not warehouse:
            raise ConfigurationError(
                "no SQL warehouse: pass `warehouse` to `uc_functions`, or set DATABRICKS_WAREHOUSE_ID"
            )
        return str(warehouse)


def _cancel(client: "WorkspaceClient", begun: "StatementResponse") -> None:
    if begun.statement_id:
        client.statement_execution.cancel_execution(begun.statement_id)
