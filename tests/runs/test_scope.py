"""A run starts with what its scope names, and with nothing else of the code that starts it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

import anyio
import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import MessagesState
from tests.runs.registered import OneGraph, a_request, answer, some_runs
from tests.runs.running import a_run, chain

from graph_agent.errors import Unauthenticated
from graph_agent.identity.user_token import UserToken, user_token, with_user_token
from graph_agent.redaction import redact, with_hidden_values
from graph_agent.redaction.known_secrets import KnownSecrets
from graph_agent.runs.log_context import add_log_facts, log_facts, within_log_facts
from graph_agent.runs.request import Scope
from graph_agent.settings import Budgets

pytestmark = pytest.mark.anyio

AMBIENT: ContextVar[str] = ContextVar("ambient", default="")
APP: ContextVar[str] = ContextVar("app", default="")


class App:
    """What a service hands to its runs."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        before = APP.set("of the app")
        yield
        APP.reset(before)


async def seen_by_a_node(scope: Scope) -> dict[str, Any]:
    """What a node, and a synchronous one in its thread, can know."""
    seen: dict[str, Any] = {}

    async def look(state: MessagesState) -> None:
        seen["names"] = {variable.name for variable in copy_context()}
        seen.update(ambient=AMBIENT.get(), app=APP.get(), facts=dict(log_facts()), told=redact("It is s3cr3t-of-ann."))
        add_log_facts(found="something")
        try:
            seen["token"] = user_token().value
        except Unauthenticated:
            seen["token"] = None

    def look_in_a_thread(state: MessagesState) -> dict[str, Any]:
        seen["in_a_thread"] = (AMBIENT.get(), APP.get(), redact("It is s3cr3t-of-ann."))
        return {"messages": [AIMessage("Done.")]}

    runs = some_runs()
    with anyio.fail_after(20):
        run = await runs.start(a_request(), scope, graphs=OneGraph(chain(look, look_in_a_thread)))
        await run.ended()
    assert run.status == "completed"
    return seen


async def test_a_node_sees_nothing_of_what_surrounds_the_start_of_its_run() -> None:
    AMBIENT.set("of the request's middleware")
    with (
        within_log_facts({"request_id": "r-1"}),
        with_hidden_values(["s3cr3t-of-ann"]),
        with_user_token(UserToken("token-of-ann")),
    ):
        seen = await seen_by_a_node(Scope())
    assert "ambient" not in seen["names"]
    assert seen["ambient"] == seen["app"] == ""
    assert seen["facts"] == {}
    assert seen["token"] is None
    assert seen["told"] == "It is s3cr3t-of-ann."
    assert seen["in_a_thread"] == ("", "", "It is s3cr3t-of-ann.")


async def test_a_node_sees_what_the_scope_names() -> None:
    noted: dict[str, Any] = {"request_id": "r-1"}
    scope = Scope(token=UserToken("token-of-ann"), hidden=KnownSecrets(["s3cr3t-of-ann"]), facts=noted, app=App())
    seen = await seen_by_a_node(scope)
    assert seen["facts"] == {"request_id": "r-1"}
    assert seen["token"] == "token-of-ann"
    assert seen["told"] == "It is [redacted known secret]."
    assert seen["app"] == "of the app"
    assert seen["in_a_thread"] == ("", "of the app", "It is [redacted known secret].")
    # What the run notes is in the request's own log line.
    assert noted["found"] == "something"
    assert "token-of-ann" not in repr(scope)


async def test_a_scope_may_name_a_whole_context() -> None:
    AMBIENT.set("of a notebook")
    seen = await seen_by_a_node(Scope(ambient=copy_context()))
    assert seen["ambient"] == "of a notebook"


async def test_nothing_of_a_run_is_left_in_the_code_that_started_it() -> None:
    before = dict(copy_context())
    run = await some_runs().start(a_request(), Scope(facts={}, app=App()), graphs=OneGraph(chain(answer)))
    await run.ended()
    assert dict(copy_context()) == before


async def test_the_clock_of_a_run_begins_when_it_starts() -> None:
    run = a_run(chain(answer), budgets=Budgets(seconds=0.3))
    await asyncio.sleep(0.5)
    with anyio.fail_after(20):
        run.start()
        await run.ended()
    assert run.status == "completed"


async def test_a_run_that_must_end_earlier_than_its_budget_does(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr("graph_agent.runs.run.LEAST_SECONDS", 0.1)
    with anyio.fail_after(20):
        run = await some_runs().start(a_request(), Scope(ends_by=0.0), graphs=OneGraph(chain(wait)))
        await run.ended()
    assert run.status == "incomplete"
