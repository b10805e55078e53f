"""Unity Catalog functions as tools, run on a SQL warehouse by the real SDK over real sockets."""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from tests.databricks.conftest import USERS
from tests.standin.server import StandIn, dead_host, stand_in
from tests.standin.sql import METADATA, RUNNING, STATEMENTS, failed, function, parameter, rows, sql_routes
from tests.standin.stalls import stalls

from graph_agent import make_tools
from graph_agent.databricks.functions import uc_functions
from graph_agent.errors import ConfigurationError, Unauthenticated
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.nodes.tool_errors import FAULT

pytestmark = pytest.mark.anyio
logger = logging.getLogger(__name__)

PRICE = function(
    "main.tools.price",
    parameter("item", "STRING", comment="what is bought"),
    parameter("count", "INT"),
    parameter("discount", "DECIMAL", "decimal(4,2)", type_precision=4, type_scale=2, parameter_default="0"),
    comment="What it costs.",
)
STOCK = function("main.tools.stock", parameter("items", "ARRAY", "array<string>"), returns="TABLE_TYPE")
Run = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    @contextmanager
    def of(run: Run = lambda body: rows(["result"], ["12.50"]), later: Any = lambda: RUNNING) -> Iterator[StandIn]:
        more = sql_routes([PRICE, STOCK], run, later)
        with stand_in(tmp_path / "workspace", users=USERS, more=more) as running:
            for name, value in running.environment().items():
                monkeypatch.setenv(name, value)
            yield running

    return of


async def asks(source: Any, name: str, **arguments: Any) -> ToolMessage:
    """What the tools node makes of one call of the planner."""
    call = AIMessage("", tool_calls=[{"id": "c1", "name": name, "args": arguments}])
    with anyio.fail_after(60):
        (message,) = (await make_tools([source])({"messages": [call]}, {}))["messages"]
    assert isinstance(message, ToolMessage)
    return message


async def test_values_travel_as_typed_parameters_and_never_in_the_statement(workspace: Any) -> None:
    with workspace() as standing:
        source = uc_functions("main.tools.price", warehouse="w1")
        (tool,) = (await source.tools()).tools
        assert (tool.name, tool.description) == ("main__tools__price", "What it costs.")
        assert tool.args_schema == {
            "type": "object",
            "properties": {
                "item": {"type": "string", "description": "what is bought"},
                "count": {"type": "integer", "description": "int"},
                "discount": {"type": "number", "description": "decimal(4,2)"},
            },
            "required": ["item", "count"],
        }
        message = await asks(source, tool.name, item="'); DROP TABLE x --", count=3, discount=0.25)
        assert (message.status, message.content) == ("success", "12.50")
        (call,) = standing.calls(STATEMENTS)
        assert call.json == {
            "statement": "SELECT `main`.`tools`.`price`(`item` => :p0, `count` => :p1, `discount` => :p2) AS result",
            "warehouse_id": "w1",
            "parameters": [
                {"name": "p0", "type": "STRING", "value": "'); DROP TABLE x --"},
                {"name": "p1", "type": "INT", "value": "3"},
                {"name": "p2", "type": "DECIMAL(4,2)", "value": "0.25"},
            ],
            "row_limit": 100,
            "wait_timeout": "5s",
            "on_wait_timeout": "CONTINUE",
        }
        await asks(source, tool.name, item="pen", count=1)
        assert [one.path for one in standing.calls()] == [METADATA + "main.tools.price", *[call.path] * 2]
        assert not call.token.startswith("user-")


async def test_a_table_function_gives_rows_and_says_when_some_are_missing(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_WAREHOUSE_ID", "w2")
    answer = rows(["item", "left"], ["pen", "4"], ["ink", None], truncated=True)
    with workspace(lambda body: answer) as standing:
        message = await asks(uc_functions("main.tools.stock"), "main__tools__stock", items=["pen", "ink"])
        table, left_out = str(message.content).split("\n")
        assert json.loads(table) == {"columns": ["item", "left"], "rows": [["pen", "4"], ["ink", None]]}
        assert left_out == "[more rows were left out]"
        assert message.artifact == json.loads(table)
        (call,) = standing.calls(STATEMENTS)
        assert call.json["statement"] == (
            "SELECT * FROM `main`.`tools`.`stock`(`items` => from_json(:p0, 'array<string>'))"
        )
        assert call.json["parameters"] == [{"name": "p0", "type": "STRING", "value": '["pen", "ink"]'}]
        assert call.json["warehouse_id"] == "w2"


async def test_twenty_users_at_once_each_run_it_with_their_own_token(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with workspace() as standing:
        source = uc_functions("main.tools.price", warehouse="w1")

        async def works(user: str) -> None:
            with with_user_token(UserToken(standing.user(user))):
                assert (await asks(source, "main__tools__price", item=user, count=1)).content == "12.50"

        async with stalls() as stalled:
            await asyncio.gather(*map(works, USERS))
        assert stalled.worst < 0.1
        sent = {(one.token, one.json["parameters"][0]["value"]) for one in standing.calls(STATEMENTS)}
        assert sent == {(standing.user(user), user) for user in USERS}
        assert {one.token for one in standing.calls()} == {standing.user(user) for user in USERS}
        standing.forget()
        await asyncio.gather(*map(works, USERS))
        assert Counter(one.token for one in standing.calls(sign_in=True)) == dict.fromkeys(map(standing.user, USERS), 1)
        standing.forget()
        with pytest.raises(Unauthenticated):
            await asks(source, "main__tools__price", item="pen", count=1)
        assert standing.calls(sign_in=True) == []


async def test_a_long_statement_is_waited_for(workspace: Any) -> None:
    looks = iter([RUNNING, rows(["result"], ["7"])])
    with workspace(lambda body: RUNNING, lambda: next(looks)) as standing:
        message = await asks(
            uc_functions("main.tools.price", warehouse="w1"), "main__tools__price", item="pen", count=1
        )
        assert message.content == "7"
        assert [one.method for one in standing.calls(STATEMENTS)] == ["POST", "GET", "GET"]


async def test_a_statement_nobody_waits_for_is_cancelled(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "1.5")
    with workspace(lambda body: RUNNING) as standing:
        source = uc_functions("main.tools.price", warehouse="w1")
        message = await asks(source, "main__tools__price", item="pen", count=1)
        told = f"main__tools__price: the function did not end within 1.5 s and was cancelled\n{FAULT}"
        assert (message.status, message.content) == ("error", told)
        await until(lambda: len(standing.calls("/cancel$")) == 1)
        # The caller leaves while it runs, and while the warehouse has not even answered yet.
        for slow in (0.0, 0.5):
            standing.forget()
            if slow:
                standing.slow(STATEMENTS, slow)
            left = asyncio.create_task(asks(source, "main__tools__price", item="pen", count=1))
            await until(lambda: len(standing.calls(STATEMENTS)) >= 1)
            await anyio.sleep(0.1)
            left.cancel()
            await until(lambda: len(standing.calls("/s1/cancel$")) == 1)


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_what_the_statement_says_is_for_the_model_alone(workspace: Any) -> None:
    with workspace(lambda body: failed("[DIVIDE_BY_ZERO] Division by zero")):
        source = uc_functions("main.tools.price", warehouse="w1")
        message = await asks(source, "main__tools__price", item="pen", count=1)
        assert (message.status, message.content) == ("error", "main__tools__price: [DIVIDE_BY_ZERO] Division by zero")
        assert message.additional_kwargs == {}
        message = await asks(source, "main__tools__price", item="pen", colour="red", count=1)
        assert message.content == (
            "main__tools__price: there is no parameter 'colour'; the parameters are: item, count, discount"
        )
        message = await asks(source, "main__tools__price", item="pen")
        assert message.content == "main__tools__price: parameters are missing: count"


FAULTS: dict[str, tuple[Callable[[StandIn, str], None], str]] = {
    "429": (lambda s, path: s.fail(path, 429, times=99), "did not answer within 3 s"),
    "500": (lambda s, path: s.fail(path, 500, times=99), "failed: look at its state in the workspace (500)"),
    "503": (lambda s, path: s.fail(path, 503, times=99), "did not answer within 3 s"),
    "401": (lambda s, path: s.fail(path, 401, times=99), "did not accept the app's credentials"),
    "403": (lambda s, path: s.fail(path, 403, times=99), "the app's service principal may not use the SQL warehouse"),
    "cut": (lambda s, path: s.hang_up(path, after=0, times=99), "ended its answer early"),
    "slow": (lambda s, path: s.slow(path, 30, times=99), "did not answer within 3 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_warehouse_is_told_to_the_model_and_never_blocks_the_loop(
    workspace: Any, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "3")
    with workspace() as standing:
        source = uc_functions("main.tools.price", warehouse="w1")
        await source.tools()
        act, told = FAULTS[fault]
        act(standing, STATEMENTS)
        async with stalls() as stalled:
            began = time.monotonic()
            message = await asks(source, "main__tools__price", item="pen", count=1)
            logger.info(f"{fault}: {time.monotonic() - began:.2f} s: {message.content}; stall {stalled.worst:.3f}")
        assert message.status == "error"
        assert told in str(message.content)
        assert stalled.worst < 0.1


async def test_a_function_that_cannot_be_read_is_a_warning(workspace: Any) -> None:
    with workspace() as standing:
        source = uc_functions("main.tools.price", "main.tools.gone", warehouse="w1")
        listed = await source.tools()
        assert [tool.name for tool in listed.tools] == ["main__tools__price"]
        assert listed.warnings == [
            "The function main.tools.gone is not available now: the function does not exist, or the app's service "
            "principal may not see it: check its name (404)."
        ]
        standing.forget()
        assert (await source.tools()).warnings == listed.warnings
        assert standing.calls() == []


async def test_a_missing_workspace_is_a_warning() -> None:
    (warning,) = (await uc_functions("main.tools.price", warehouse="w1").tools()).warnings
    assert warning.startswith("The function main.tools.price is not available now: the Databricks workspace cannot")


async def test_a_dead_host_is_a_warning_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with dead_host() as url:
        monkeypatch.setenv("DATABRICKS_HOST", url)
        monkeypatch.setenv("DATABRICKS_TOKEN", "t")
        monkeypatch.setenv("GRAPH_AGENT_REQUEST_SECONDS", "1")
        async with stalls() as stalled:
            listed = await uc_functions("main.tools.price", warehouse="w1").tools()
        assert listed.warnings == [
            "The function main.tools.price is not available now: the function did not answer within 1 s."
        ]
        assert stalled.worst < 0.1


async def test_a_wrong_name_and_a_missing_warehouse_are_named(workspace: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"catalog\.schema\.function"):
        uc_functions("price")
    with workspace():
        (tool,) = (await uc_functions("main.tools.price").tools()).tools
        with pytest.raises(ConfigurationError, match="DATABRICKS_WAREHOUSE_ID"):
            await tool.ainvoke({"item": "pen", "count": 1})
        with pytest.raises(NotImplementedError, match="ainvoke"):
            tool.invoke({"item": "pen", "count": 1})
