"""Runs that answer what an earlier attempt has answered already, before its process died."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from tests.runs.registered import ANN, OneGraph, rest, some_runs

from graph_agent import AgentState
from graph_agent.identity.owner import Owner
from graph_agent.protocol.dialects import RESPONSES
from graph_agent.protocol.requests import parse_request
from graph_agent.runs.request import RunRequest, Scope
from graph_agent.stores.sqlite_store import SqliteStore

pytestmark = pytest.mark.anyio

told: list[Any] = []


async def asks_twice(state: AgentState) -> dict[str, Any]:
    answers = [interrupt("First?"), interrupt("Second?")]
    told.append(answers)
    return {"messages": [AIMessage(f"{answers}")]}


async def left(state: AgentState) -> dict[str, Any]:
    told.append(answer := interrupt("Left?"))
    return {"messages": [AIMessage(f"left {answer}")]}


async def right(state: AgentState) -> dict[str, Any]:
    told.append(answer := interrupt("Right?"))
    return {"messages": [AIMessage(f"right {answer}")]}


def graph_of(*nodes: Any) -> Any:
    builder = StateGraph(AgentState)
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(START, node.__name__)
    return builder.compile()


class Talk:
    """A stored conversation with one graph, in one process."""

    def __init__(self, graph: Any, store: SqliteStore) -> None:
        self.graph, self.store, self.runs = graph, store, some_runs()

    async def post(self, content: Any) -> dict[str, Any]:
        body = {"input": content, "context": {"conversation_id": "c"}}
        invocation = parse_request(json.dumps(body).encode(), graphs=["g"], stores=True, stored_by_default=True)
        request = RunRequest(invocation=invocation, dialect=RESPONSES, owner=ANN, accepted_at=time.time())
        run = await self.runs.start(request, Scope(), graphs=OneGraph(self.graph), store=self.store)
        response: dict[str, Any] = [one.event for one in await rest(self.runs.read(run))][-1]["response"]
        return response

    async def resume_and_die(self, response: dict[str, Any], place: int, value: Any) -> None:
        """What an attempt leaves that dies after LangGraph has written, and before its record is committed."""
        record = await self.store.responses.get(Owner.of(ANN), response["id"])
        assert record.waiting is not None
        graph = self.graph.copy(update={"checkpointer": self.store.checkpointer()})
        asked = record.waiting.approvals[place]["interrupt"]
        config = {"configurable": {"thread_id": record.thread}}
        async for _ in graph.astream(Command(resume={asked: value}), config, durability="exit"):
            pass


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    made = SqliteStore(None)
    await made.open()
    told.clear()
    yield made
    await made.aclose()


def approvals(response: dict[str, Any]) -> list[Any]:
    return [item for item in response["output"] if item["type"] == "mcp_approval_request"]


def answer(approval: Any, **more: Any) -> dict[str, Any]:
    return {"type": "mcp_approval_response", "approval_request_id": approval["id"], "approve": True} | more


async def test_the_answer_to_the_first_question_never_answers_the_second(store: SqliteStore) -> None:
    talk = Talk(graph_of(asks_twice), store)
    response = await talk.post("go")
    [first] = approvals(response)
    await talk.resume_and_die(response, 0, "one")
    [second] = approvals(await talk.post([answer(first, output="one")]))
    assert json.loads(second["arguments"]) == {"question": "Second?"}
    assert told == []
    done = await talk.post([answer(second, output="two")])
    assert told == [["one", "two"]]
    assert done["output"][-1]["content"][0]["text"] == "['one', 'two']"


async def test_a_node_that_has_ended_does_not_run_again(store: SqliteStore) -> None:
    talk = Talk(graph_of(left, right), store)
    response = await talk.post("go")
    one, other = approvals(response)
    await talk.resume_and_die(response, 0, "l")
    assert told == ["l"]
    again = await talk.post([answer(one, output="l")])
    assert [json.loads(item["arguments"]) for item in approvals(again)] == [json.loads(other["arguments"])]
    await talk.post([answer(approvals(again)[0], output="r")])
    assert told == ["l", "r"]
