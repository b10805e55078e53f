"""A Genie space as a tool, asked by the real SDK over real sockets."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage, ToolMessage
from tests.databricks.conftest import USERS
from tests.standin.genie import GENIE, SPACE, genie_routes, query, text
from tests.standin.server import StandIn, stand_in
from tests.standin.sql import rows
from tests.standin.stalls import stalls

from graph_agent import make_tools
from graph_agent.databricks.genie import genie
from graph_agent.errors import Unauthenticated
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.nodes.tool_errors import FAULT

pytestmark = pytest.mark.anyio
logger = logging.getLogger(__name__)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    @contextmanager
    def of(*attachments: dict[str, Any], **options: Any) -> Iterator[StandIn]:
        more = genie_routes(attachments, **options)
        with stand_in(tmp_path / "workspace", users=USERS, more=more) as running:
            for name, value in running.environment().items():
                monkeypatch.setenv(name, value)
            yield running

    return of


async def asks(tool: Any, question: Any = "How many pens?") -> ToolMessage:
    """What the tools node makes of one question of the planner."""
    call = AIMessage("", tool_calls=[{"id": "c1", "name": tool.name, "args": {"question": question}}])
    with anyio.fail_after(60):
        (message,) = (await make_tools([tool])({"messages": [call]}, {}))["messages"]
    assert isinstance(message, ToolMessage)
    return message


async def test_an_answer_is_its_text_its_last_query_and_that_querys_rows(workspace: Any) -> None:
    table = rows(["left"], ["4"])
    with workspace(
        query("SELECT 1", "q1"), text("A first try."), query("SELECT 2", "q2"), text("Four."), table=table
    ) as s:
        message = await asks(genie(SPACE, name="ask_sales"))
        four, sql, found = str(message.content).split("\n\n")
        assert (message.name, four, sql, json.loads(found)) == (
            "ask_sales",
            "Four.",
            "SQL: SELECT 2",
            {"columns": ["left"], "rows": [["4"]]},
        )
        assert message.artifact == {"columns": ["left"], "rows": [["4"]]}
        assert [one.line for one in s.calls()] == [
            f"POST {GENIE}/start-conversation",
            f"GET {GENIE}/conversations/0/messages/m",
            f"GET {GENIE}/conversations/0/messages/m",
            f"GET {GENIE}/conversations/0/messages/m/attachments/q2/query-result",
        ]
        assert s.calls()[0].json == {"content": "How many pens?"}


async def test_twenty_users_at_once_each_ask_with_their_own_token(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with workspace(text("Four.")) as standing:
        tool = genie(SPACE)

        async def works(user: str) -> None:
            with with_user_token(UserToken(standing.user(user))):
                assert (await asks(tool, user)).content == "Four."

        async with stalls() as stalled:
            await asyncio.gather(*map(works, USERS))
        assert stalled.worst < 0.1
        begun = {(one.token, one.json["content"]) for one in standing.calls("start-conversation")}
        assert begun == {(standing.user(user), user) for user in USERS}
        assert {one.token for one in standing.calls()} == {standing.user(user) for user in USERS}
        standing.forget()
        with pytest.raises(Unauthenticated):
            await asks(tool)
        assert standing.calls(sign_in=True) == []


async def test_what_genie_could_not_answer_is_for_the_model_alone(workspace: Any) -> None:
    with workspace(error="no table of pens"):
        message = await asks(genie(SPACE))
        assert (message.status, message.content) == ("error", "ask_genie: no table of pens")
        assert message.additional_kwargs == {}
        assert (await asks(genie(SPACE), " ")).content == "ask_genie: ask a question in words, in `question`"


async def test_a_question_that_takes_too_long_ends_in_time(workspace: Any) -> None:
    with workspace(looks=999):
        began = time.monotonic()
        message = await asks(genie(SPACE, seconds=1.2))
        assert (message.status, message.content) == ("error", f"ask_genie: Genie did not answer within 1.2 s\n{FAULT}")
        assert time.monotonic() - began < 20


FAULTS: dict[str, tuple[Callable[[StandIn], None], str]] = {
    "429": (lambda s: s.fail(GENIE, 429, times=99), "did not answer within 3 s"),
    "500": (lambda s: s.fail(GENIE, 500, times=99), "failed: look at its state in the workspace (500)"),
    "503": (lambda s: s.fail(GENIE, 503, times=99), "did not answer within 3 s"),
    "401": (lambda s: s.fail(GENIE, 401, times=99), "did not accept the app's credentials"),
    "403": (lambda s: s.fail(GENIE, 403, times=99), "the app's service principal may not use Genie"),
    "404": (lambda s: s.fail(GENIE, 404, times=99), "Genie does not exist, or the app's service principal may not see"),
    "cut": (lambda s: s.hang_up(GENIE, after=0, times=99), "ended its answer early"),
    "slow": (lambda s: s.slow(GENIE, 30, times=99), "did not answer within 3 s"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_to_the_model_and_never_blocks_the_loop(workspace: Any, fault: str) -> None:
    with workspace(text("Four.")) as standing:
        tool = genie(SPACE, seconds=3)
        act, told = FAULTS[fault]
        act(standing)
        async with stalls() as stalled:
            began = time.monotonic()
            message = await asks(tool)
            logger.info(f"{fault}: {time.monotonic() - began:.2f} s: {message.content}; stall {stalled.worst:.3f}")
        assert message.status == "error"
        assert told in str(message.content)
        assert stalled.worst < 0.1
