"""Every run ends once, says how, and never with a stranger's words."""

import asyncio
import gc
import json
import logging
import threading
from typing import Any

import anyio
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException, tool
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from tests.graphs.scripted import says
from tests.runs.running import a_run, asking, chain, events_of, speaking
from tests.wire import gist, phases

from graph_agent.errors import AgentError, ApprovalNeedsStore, RetrievalFailed, ServiceStopping
from graph_agent.nodes.tools import make_tools
from graph_agent.protocol.dialects import INVOCATIONS, OPENAI, RESPONSES, Dialect
from graph_agent.protocol.interrupts import Interrupted
from graph_agent.runs.observers import Outcome, RunInfo
from graph_agent.settings import Budgets
from graph_agent.testing import Call, Usage

pytestmark = pytest.mark.anyio

PASSWORD = "hunter2-5f0c"
DIALECTS = pytest.mark.parametrize(
    "dialect", [INVOCATIONS, RESPONSES, OPENAI], ids=["invocations", "responses", "openai"]
)
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}


@pytest.fixture
def discreet(caplog: pytest.LogCaptureFixture) -> Any:
    """Checks that what it is given, and the log, do not hold the password."""
    caplog.set_level(logging.DEBUG)

    def check(told: Any) -> None:
        assert PASSWORD not in json.dumps(told)
        logged = "".join(f"{record.getMessage()}{record.exc_info}" for record in caplog.records)
        assert PASSWORD not in logged

    return check


def raising(error: Exception) -> Any:
    async def fail(state: MessagesState) -> dict[str, Any]:
        raise error

    return fail


def ending(events: list[Any]) -> list[str]:
    """The types from the first error or terminal event on."""
    kinds = [event["type"] for event in events]
    first = next(n for n, kind in enumerate(kinds) if kind in TERMINAL or kind == "error")
    return kinds[first:]


# -- failures ---------------------------------------------------------------------------------------------------


@DIALECTS
async def test_an_exception_before_the_first_token_is_one_typed_error(dialect: Dialect, discreet: Any) -> None:
    events = await events_of(chain(raising(ValueError(f"dsn=postgres://me:{PASSWORD}@db"))), dialect=dialect)
    message = "the graph failed (ValueError); the service's log has the place"
    if dialect is INVOCATIONS:
        assert events[2:] == [
            {
                "type": "error",
                "error": message,
                "message": message,
                "code": "graph_failed",
                "databricks_output": {"error": {"error_code": "graph_failed", "message": message}},
            }
        ]
    else:
        assert events[2] == {
            "type": "error",
            "code": "graph_failed",
            "message": message,
            "param": None,
            "error": {"message": message, "type": "server_error", "param": None, "code": "graph_failed"},
        }
        assert [event["type"] for event in events[3:]] == ["response.failed"]
        assert events[3]["response"]["status"] == "failed"
        assert events[3]["response"]["error"] == {"code": "graph_failed", "message": message}
    discreet(events)


@DIALECTS
async def test_an_exception_after_the_first_token_closes_the_text_first(dialect: Dialect, discreet: Any) -> None:
    events = await events_of(chain(speaking(says(["Hello ", RuntimeError(PASSWORD)]))), dialect=dialect)
    tail = ["error model_failed"] if dialect is INVOCATIONS else ["error model_failed", "failed"]
    if dialect is INVOCATIONS:
        # Its clients show no error after a text.
        assert gist(events)[:2] == ["0+ message", "0: Hello "]
        assert "I stopped here because of an error" in gist(events)[2]
        assert gist(events)[4:] == tail
    else:
        assert gist(events) == ["0+ message", "0: Hello ", "0- message incomplete 'Hello '", *tail]
    discreet(events)


async def test_an_exception_raised_while_handling_another_leaks_neither(discreet: Any) -> None:
    async def fail(state: MessagesState) -> None:
        try:
            raise KeyError(PASSWORD)
        except KeyError as error:
            raise RuntimeError(f"could not connect with {PASSWORD}") from error

    discreet(await events_of(chain(fail)))


async def test_a_group_of_exceptions_leaks_none(discreet: Any) -> None:
    group = ExceptionGroup(f"several {PASSWORD}", [ValueError(PASSWORD), RuntimeError(PASSWORD)])
    events = await events_of(chain(raising(group)))
    assert ending(events) == ["error", "response.failed"]
    discreet(events)


async def test_several_branches_that_fail_at_once_leak_nothing(discreet: Any) -> None:
    builder = StateGraph(MessagesState)
    for name in ("left", "middle", "right"):
        builder.add_node(name, raising(ValueError(f"{name} {PASSWORD}")))
        builder.add_edge(START, name)
    events = await events_of(builder.compile())
    assert ending(events) == ["error", "response.failed"]
    gc.collect()
    discreet(events)


async def test_a_branch_that_fails_while_it_is_cancelled_leaks_nothing(discreet: Any) -> None:
    async def fail_late(state: MessagesState) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError(PASSWORD)

    builder = StateGraph(MessagesState)
    builder.add_node("left", fail_late)
    builder.add_node("right", raising(ValueError(PASSWORD)))
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    events = await events_of(builder.compile())
    assert ending(events) == ["error", "response.failed"]
    del builder
    await anyio.lowlevel.checkpoint()
    gc.collect()
    discreet(events)


async def test_an_error_of_our_own_family_keeps_its_message_and_code() -> None:
    events = await events_of(chain(raising(RetrievalFailed("the index did not answer within 5 s"))))
    assert events[2]["code"] == "retrieval_failed"
    assert events[2]["message"] == "the index did not answer within 5 s"


async def test_a_model_that_breaks_off_is_blamed_even_where_a_node_wraps_its_exception(discreet: Any) -> None:
    model = says([RuntimeError(PASSWORD)])

    async def answer(state: MessagesState) -> dict[str, Any]:
        try:
            return {"messages": [await model.ainvoke(state["messages"])]}
        except RuntimeError as error:
            raise ValueError(f"wrapped {error}") from error

    events = await events_of(chain(answer))
    assert events[2]["code"] == "model_failed"
    discreet(events)


async def test_a_model_failure_the_graph_recovers_from_is_no_failure() -> None:
    broken, spare = says([RuntimeError("x")]), says("Hello.")
    events = await events_of(chain(speaking(broken.with_fallbacks([spare]))))
    assert phases(events[-1]["response"]) == [("Hello.", "final_answer")]


async def test_a_reply_raises_what_the_stream_would_have_said(discreet: Any) -> None:
    run = a_run(chain(raising(ValueError(PASSWORD))))
    run.start()
    with pytest.raises(AgentError) as raised:
        await run.reply()
    assert raised.value.code == "graph_failed"
    discreet(raised.value.body())


@DIALECTS
async def test_a_failing_tool_that_ends_the_run_closes_its_call_first(dialect: Dialect, discreet: Any) -> None:
    events = await events_of(
        _agent(says([Call("leak")], "Done."), ToolNode([leak], handle_tool_errors=False)), dialect=dialect
    )
    closed = (
        ["0- mcp leak({}) failed 'error the run ended before this tool returned'"]
        if dialect is OPENAI
        else ["0- call leak({})", "1- output 'the run ended before this tool returned'"]
    )
    tail = ["error graph_failed"] if dialect is INVOCATIONS else ["error graph_failed", "failed"]
    if dialect is INVOCATIONS:
        # Without a text, its clients would send the request again, and the tools would run twice.
        sentence = "I stopped here because of an error: the graph failed (ValueError); the service's log has the place."
        closed += [f"2: {sentence}", f"2- message final_answer incomplete {sentence!r}"]
    assert [line for line in gist(events) if "+" not in line[:3]] == [*closed, *tail]
    discreet(events)


@DIALECTS
async def test_a_failing_tool_whose_exception_goes_to_the_model_is_told_as_failed(
    dialect: Dialect, discreet: Any
) -> None:
    model = says([Call("leak")], "Done.")
    events = await events_of(_agent(model, ToolNode([leak], handle_tool_errors=True)), dialect=dialect)
    closed = (
        ["0- mcp leak({}) failed \"error the tool 'leak' failed\""]
        if dialect is OPENAI
        else ["0- call leak({})", "1- output \"the tool 'leak' failed\""]
    )
    assert [line for line in gist(events) if line[1] == "-"][:-1] == closed
    assert gist(events)[-1] == "completed"
    discreet(events)


async def test_our_own_tools_node_tells_the_caller_what_failed_but_not_what_was_raised(discreet: Any) -> None:
    @tool
    def refuse() -> str:
        """Refuse."""
        raise ToolException(f"not with {PASSWORD}")

    calls = [Call("leak", id="a"), Call("refuse", id="b"), Call("unheard_of", id="c")]
    node = make_tools([leak, refuse])
    events = await events_of(_agent(says(calls, "Done."), node))
    assert [line.split("- ")[1] for line in gist(events) if "- output" in line] == [
        "output 'leak failed (ValueError).'",
        "output \"the tool 'refuse' failed\"",
        "output \"There is no tool named 'unheard_of'; there are: leak, refuse.\"",
    ]
    discreet(events)


async def test_parallel_calls_keep_their_results_apart() -> None:
    @tool
    async def double(number: int) -> int:
        """Double it."""
        await asyncio.sleep(0.01 * (3 - number))
        return 2 * number

    calls = [Call("double", json.dumps({"number": number}), id=f"call-{number}") for number in (1, 2)]
    events = await events_of(_agent(says(calls, "Done."), ToolNode([double])), dialect=OPENAI)
    assert [line for line in gist(events) if "mcp double" in line] == [
        "0- mcp double({\"number\": 1}) completed '2'",
        "1- mcp double({\"number\": 2}) completed '4'",
    ]


async def test_a_graph_that_ends_on_its_tool_calls_leaves_them_to_the_client() -> None:
    events = await events_of(chain(speaking(says(["Over to you.", Call("their_tool")]))))
    assert gist(events) == [
        "0+ message",
        "0: Over to you.",
        "0- message commentary completed 'Over to you.'",
        "1+ function_call",
        "1- call their_tool({})",
        "completed",
    ]


# -- interrupts -------------------------------------------------------------------------------------------------


async def test_an_interrupt_ends_the_run_with_a_typed_error() -> None:
    async def ask(state: MessagesState) -> None:
        interrupt({"question": "May I?"})

    events = await events_of(chain(ask))
    assert gist(events) == ["error approval_needs_store", "failed"]


async def test_an_interrupt_in_a_subgraph_does_too() -> None:
    async def ask(state: MessagesState) -> None:
        interrupt("May I?")

    builder = StateGraph(MessagesState)
    builder.add_node("team", chain(ask))
    builder.add_edge(START, "team")
    assert gist(await events_of(builder.compile())) == ["error approval_needs_store", "failed"]


async def test_a_graph_compiled_to_stop_before_a_node_does_too() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", speaking(says("Hello.")))
    builder.add_edge(START, "answer")
    run = a_run(builder.compile(interrupt_before=["answer"]))
    assert gist(await events_of(run)) == ["error approval_needs_store", "failed"]
    assert (run.status, run.interrupted) == ("interrupted", Interrupted(()))


async def test_a_graph_compiled_to_stop_after_a_node_closes_what_that_node_said() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", speaking(says("Hello.")))
    builder.add_node("check", speaking(says("Checked.")))
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "check")
    events = await events_of(builder.compile(interrupt_after=["answer"]))
    assert gist(events) == [
        "0+ message",
        "0: Hello.",
        "0- message completed 'Hello.'",
        "error approval_needs_store",
        "failed",
    ]


def asks(question: str) -> Any:
    async def ask(state: MessagesState) -> None:
        interrupt(question)

    return ask


@DIALECTS
async def test_interrupts_of_parallel_nodes_and_subgraphs_end_the_run_together(dialect: Dialect) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("here", asks("One?"))
    builder.add_node("team", chain(asks("Two?")))
    builder.add_node("answer", speaking(says("Hello.")))
    for name in ("here", "team", "answer"):
        builder.add_edge(START, name)
    run = a_run(builder.compile(), dialect=dialect)
    events = await events_of(run)
    # What a parallel node says is told too: its work is not lost where the run can be resumed.
    assert "0: Hello." in gist(events)
    # On /invocations the text ends with a sentence about the error.
    assert ("0- message completed 'Hello.'" in gist(events)) == (dialect is not INVOCATIONS)
    assert ending(events) == (["error"] if dialect is INVOCATIONS else ["error", "response.failed"])
    assert run.status == "interrupted"
    assert run.interrupted is not None
    asked = {(one.value, one.namespace[:1] and one.namespace[0].split(":")[0]) for one in run.interrupted.interrupts}
    assert asked == {("One?", ()), ("Two?", "team")}


@DIALECTS
async def test_a_tool_call_that_waits_for_a_decision_is_closed(dialect: Dialect) -> None:
    @tool
    def send() -> str:
        """Send it."""
        return str(interrupt("Send it?"))

    builder = StateGraph(MessagesState)
    builder.add_node("plan", speaking(says(["Sending.", Call("send")])))
    builder.add_node("tools", ToolNode([send]))
    builder.add_edge(START, "plan")
    builder.add_edge("plan", "tools")
    run = a_run(builder.compile(), dialect=dialect)
    events = await events_of(run)
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(opened) == sorted(closed) == list(range(len(opened)))
    assert run.interrupted is not None
    assert [one.value for one in run.interrupted.interrupts] == ["Send it?"]


async def test_a_reply_of_an_interrupted_run_is_the_typed_error() -> None:
    run = a_run(chain(asks("May I?")))
    run.start()
    with pytest.raises(ApprovalNeedsStore):
        await run.reply()


# -- budgets ----------------------------------------------------------------------------------------------------


def _told_budget(events: list[Any]) -> Any:
    response = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"]["reason"] == "max_output_tokens"
    assert response["custom_outputs"]["budget"] == response["metadata"]["budget"]
    assert sum(event["type"] in TERMINAL for event in events) == 1
    said = response["incomplete_details"].get("message") or phases(response)[-1][0]
    return response["metadata"]["budget"], said


def _busy() -> tuple[Any, list[str]]:
    """A planner that calls a tool in every turn, and what its tool was called with."""
    ran: list[str] = []

    @tool
    def work(step: str) -> str:
        """Work."""
        ran.append(step)
        return "done"

    turns = [[Call("work", json.dumps({"step": str(n)}), id=f"c{n}")] for n in range(30)]
    return _agent(says(*turns), ToolNode([work], handle_tool_errors=True)), ran


async def test_the_budget_of_steps_ends_a_loop() -> None:
    graph, ran = _busy()
    events = await events_of(graph, budgets=Budgets(steps=6, seconds=5))
    assert _told_budget(events) == ("steps", "I stopped here: this answer would take more steps than one run may use.")
    assert len(ran) == 3


async def test_tool_calls_over_the_budget_never_run() -> None:
    graph, ran = _busy()
    events = await events_of(graph, budgets=Budgets(tool_calls=2, seconds=5))
    assert _told_budget(events)[0] == "tool_calls"
    assert ran == ["0", "1"]


@pytest.mark.parametrize("dialect", [RESPONSES, OPENAI], ids=["responses", "openai"])
async def test_tool_calls_over_the_budget_never_run_in_a_subgraph(dialect: Dialect) -> None:
    graph, ran = _busy()
    builder = StateGraph(MessagesState)
    builder.add_node("team", graph)
    builder.add_edge(START, "team")
    events = await events_of(builder.compile(), budgets=Budgets(tool_calls=2, seconds=5), dialect=dialect)
    assert _told_budget(events)[0] == "tool_calls"
    assert ran == ["0", "1"]


async def test_a_request_may_lower_the_budget_of_tool_calls() -> None:
    graph, ran = _busy()
    events = await events_of(graph, invocation=asking(max_tool_calls=1))
    assert _told_budget(events)[0] == "tool_calls"
    assert ran == ["0"]


async def test_a_tool_that_calls_tools_is_one_call() -> None:
    @tool
    async def outer() -> str:
        """Call another."""
        for _ in range(5):
            await inner.ainvoke({})
        return "done"

    @tool
    async def inner() -> str:
        """Do something."""
        return "did"

    graph = _agent(says([Call("outer")], "Done."), ToolNode([outer]))
    events = await events_of(graph, budgets=Budgets(tool_calls=1, seconds=5))
    assert gist(events)[-1] == "completed"


async def test_the_budget_of_tokens_cuts_a_text_that_does_not_end() -> None:
    events = await events_of(
        chain(speaking(says([f"{n} " for n in range(1000)]))), budgets=Budgets(output_tokens=10, seconds=5)
    )
    budget, text = _told_budget(events)
    assert budget == "output_tokens"
    assert text == "0 1 2 3 4 5 6 7 8 9 \n\nI stopped here: the length limit of one run was reached."


async def test_a_request_may_lower_the_budget_of_tokens_but_not_raise_it() -> None:
    graph = chain(speaking(says([f"{n} " for n in range(1000)])))
    lowered = await events_of(graph, invocation=asking(max_output_tokens=2))
    assert _told_budget(lowered)[1].startswith("0 1 \n")
    raised = await events_of(
        graph, invocation=asking(max_output_tokens=500), budgets=Budgets(output_tokens=3, seconds=5)
    )
    assert _told_budget(raised)[1].startswith("0 1 2 \n")


async def test_an_answer_that_ends_at_its_limit_is_complete() -> None:
    events = await events_of(chain(speaking(says(["a", "b", "c"]))), budgets=Budgets(output_tokens=3, seconds=5))
    assert gist(events)[-1] == "completed"


async def test_tokens_of_private_models_count_and_stop_the_next_call() -> None:
    called: list[int] = []
    quiet = says([f"{n} " for n in range(20)]).with_config(tags=["nostream"])

    async def think(state: MessagesState) -> None:
        called.append(1)
        await quiet.ainvoke(state["messages"])

    events = await events_of(chain(think, speaking(says("Hello."))), budgets=Budgets(output_tokens=10, seconds=5))
    assert _told_budget(events) == ("output_tokens", "I stopped here: the length limit of one run was reached.")


async def test_a_whole_answer_over_the_limit_is_still_an_answer() -> None:
    model = says(("Hello.",), disable_streaming=True, usage=Usage(1, 50))
    events = await events_of(chain(speaking(model)), budgets=Budgets(output_tokens=10, seconds=5))
    assert gist(events)[-1] == "completed"


async def test_the_budget_of_time_ends_a_run_that_waits() -> None:
    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    events = await events_of(chain(speaking(says("Hello.")), wait), budgets=Budgets(seconds=0.2))
    budget, text = _told_budget(events)
    assert (budget, text) == ("seconds", "Hello.\n\nI stopped here: the time for one run was used up.")


async def test_the_budget_of_time_ends_a_synchronous_node_that_sleeps() -> None:
    release = threading.Event()

    def sleep(state: MessagesState) -> None:
        release.wait(10)

    with anyio.fail_after(20):
        events = await events_of(chain(sleep), budgets=Budgets(seconds=0.2))
    release.set()
    assert _told_budget(events)[0] == "seconds"


async def test_the_budget_of_time_ends_a_run_whose_node_swallows_its_cancellation() -> None:
    release = asyncio.Event()

    async def stubborn(state: MessagesState) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    run = a_run(chain(stubborn), budgets=Budgets(seconds=0.2))
    run.start()
    try:
        with anyio.fail_after(20):
            events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    finally:
        release.set()
        await run.aclose()
    assert _told_budget(events)[0] == "seconds"


async def test_a_graph_that_swallows_what_stops_it_is_cut_all_the_same() -> None:
    model = says([f"{n} " for n in range(1000)])

    async def answer(state: MessagesState) -> dict[str, Any]:
        try:
            return {"messages": [await model.ainvoke(state["messages"])]}
        except Exception:  # noqa: BLE001 - a graph that hides every failure is what is tested
            return {"messages": [AIMessage("As if nothing had been.")]}

    events = await events_of(chain(answer), budgets=Budgets(output_tokens=3, seconds=5))
    assert _told_budget(events)[0] == "output_tokens"


async def test_a_time_out_of_the_graphs_own_is_a_failure_and_no_budget() -> None:
    async def wait(state: MessagesState) -> None:
        async with asyncio.timeout(0.01):
            await anyio.sleep_forever()

    assert gist(await events_of(chain(wait))) == ["error graph_failed", "failed"]


async def test_a_step_limit_of_an_inner_graph_is_told_as_steps() -> None:
    events = await events_of(chain(raising(GraphRecursionError("x"))))
    assert _told_budget(events)[0] == "steps"


# -- stopping ---------------------------------------------------------------------------------------------------


async def test_closing_a_run_cancels_the_node_under_way() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def wait(state: MessagesState) -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            stopped.set()

    ended: list[bool] = []
    run = a_run(chain(wait))
    run.start()
    run.when_over(lambda: ended.append(True))
    with anyio.fail_after(20):
        await started.wait()
        await run.aclose()
    assert stopped.is_set()
    assert ended == [True]


async def test_closing_a_run_stops_a_synchronous_node_at_its_next_token() -> None:
    speaking_now, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    said: list[str] = []
    model = says([f"{n} " for n in range(100)])

    def talk(state: MessagesState) -> None:
        try:
            for chunk in model.stream(state["messages"]):
                said.append(chunk.text)
                speaking_now.set()
                go_on.wait(5)
        finally:
            ended.set()

    run = a_run(chain(talk))
    run.start()
    with anyio.fail_after(20):
        await anyio.to_thread.run_sync(speaking_now.wait, 5)
        await run.aclose()
        go_on.set()
        assert await anyio.to_thread.run_sync(ended.wait, 5)
    assert said == ["0 "]


async def test_closing_a_run_stops_a_synchronous_node_at_its_next_tool_call() -> None:
    working, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    ran: list[int] = []

    @tool
    def work() -> str:
        """Work."""
        ran.append(1)
        working.set()
        go_on.wait(5)
        return "done"

    def busy(state: MessagesState) -> None:
        try:
            for _ in range(10):
                work.invoke({})
        finally:
            ended.set()

    run = a_run(chain(busy))
    run.start()
    with anyio.fail_after(20):
        await anyio.to_thread.run_sync(working.wait, 5)
        await run.aclose()
        go_on.set()
        assert await anyio.to_thread.run_sync(ended.wait, 5)
    assert ran == [1]


async def test_no_task_is_left_after_a_run_however_it_ends() -> None:
    before = asyncio.all_tasks()

    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    builder = StateGraph(MessagesState)
    for name in ("left", "right"):
        builder.add_node(name, chain(wait))
        builder.add_edge(START, name)
    graph = builder.compile()
    await events_of(graph, budgets=Budgets(seconds=0.1))
    await events_of(chain(raising(ValueError("x"))))
    run = a_run(graph)
    run.start()
    async for _ in run.batches(quiet_seconds=5):
        break
    await run.aclose()
    assert asyncio.all_tasks() - before == set()


async def test_interrupting_a_run_ends_its_stream_with_the_reason() -> None:
    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    run = a_run(chain(speaking(says("Hello.")), wait))
    run.start()
    events = []
    with anyio.fail_after(20):
        async for batch in run.batches(quiet_seconds=5):
            events += [entry.event for entry in batch]
            if any(entry.type == "response.output_text.delta" for entry in batch):
                run.interrupt(ServiceStopping("the service is stopping"))
        await run.aclose()
    assert gist(events)[-3:] == ["0- message completed 'Hello.'", "error service_stopping", "failed"]
    assert ending(events) == ["error", "response.failed"]


async def test_interrupting_a_run_that_has_ended_changes_nothing() -> None:
    run = a_run(chain(speaking(says("Hello."))))
    run.start()
    events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    run.interrupt(ServiceStopping("late"))
    assert run.failure is None
    assert ending(events) == ["response.completed"]


async def test_a_reader_that_never_reads_does_not_hold_the_run() -> None:
    over = asyncio.Event()
    run = a_run(chain(speaking(says(["x"] * 3000))), budgets=Budgets(seconds=30))
    run.start()
    run.when_over(over.set)
    with anyio.fail_after(30):
        await over.wait()
    events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert ending(events) == ["response.completed"]
    assert len([event for event in events if event["type"] == "response.output_text.delta"]) == 3000


async def test_a_run_keeps_so_many_bytes_of_events_and_then_ends_incomplete() -> None:
    words = ["word "] * 3000
    run = a_run(chain(speaking(says(words))), budgets=Budgets(seconds=30, event_bytes=20_000))
    run.start()
    events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert _told_budget(events)[0] == "event_bytes"
    assert ending(events) == ["response.incomplete"]
    assert events[-1]["response"]["custom_outputs"] == {"budget": "event_bytes"}
    told = [event for event in events if event["type"] == "response.output_text.delta"]
    assert 20 < len(told) < 200


async def in_one_piece(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("word " * 100_000)]}


@pytest.mark.parametrize(
    "node", [speaking(says(["x" * 1000] * 500)), speaking(says(["word "] * 3000)), in_one_piece], ids=lambda node: ""
)
@pytest.mark.parametrize("mode", ["stream", "reply"])
async def test_the_end_of_a_run_counts_among_its_bytes_though_it_repeats_the_text(node: Any, mode: str) -> None:
    run = a_run(chain(node), invocation=asking(mode=mode), budgets=Budgets(seconds=30, event_bytes=200_000))
    run.start()
    entries = [entry async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert run.status == "incomplete"
    assert ending([entry.event for entry in entries]) == ["response.incomplete"]
    assert entries[-1].event["response"]["metadata"] == {"budget": "event_bytes"}
    piece = max(len(entry.data) for entry in entries if entry.type.endswith(".delta"))
    assert 150_000 < sum(len(entry.data) for entry in entries) < 210_000 + 5 * piece


async def test_a_run_that_ends_while_its_reader_is_behind_ends_once() -> None:
    run = a_run(chain(speaking(says(["x"] * 505))))
    over = asyncio.Event()
    run.start()
    run.when_over(over.set)
    with anyio.fail_after(20):
        await over.wait()
    run.interrupt(ServiceStopping("late"))
    events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert ending(events) == ["response.completed"]


async def test_an_observer_is_told_how_the_run_ended() -> None:
    class Notes:
        handler = BaseCallbackHandler()

        def __init__(self) -> None:
            self.told: list[tuple[str, str]] = []

        def started(self, run: RunInfo) -> None:
            assert run.graph == "agent"

        def ended(self, outcome: Outcome) -> None:
            assert (outcome.error is None) == (outcome.status != "failed")
            self.told.append((outcome.status, outcome.answer))

    notes = Notes()
    await events_of(a_run(chain(speaking(says("Hello."))), observers=[notes]))
    await events_of(a_run(chain(speaking(says("Hi.")), raising(ValueError("x"))), observers=[notes]))
    await events_of(
        a_run(chain(speaking(says(["a "] * 9))), observers=[notes], budgets=Budgets(output_tokens=1, seconds=5))
    )

    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    run = a_run(chain(speaking(says("Half.")), wait), observers=[notes])
    run.start()
    async for batch in run.batches(quiet_seconds=5):
        if any("delta" in entry.type for entry in batch):
            break
    await run.aclose()
    assert notes.told == [
        ("completed", "Hello."),
        ("failed", "Hi."),
        ("incomplete", "a \n\nI stopped here: the length limit of one run was reached."),
        ("cancelled", "Half."),
    ]


@tool
def leak() -> str:
    """Fail."""
    raise ValueError(f"connecting with {PASSWORD}")


def _agent(model: Any, tools: Any) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("planner", speaking(model, "planner"))
    builder.add_node("tools", tools)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", lambda state: "tools" if state["messages"][-1].tool_calls else END)
    builder.add_edge("tools", "planner")
    return builder.compile()


async def test_a_cancelled_run_ends_its_log_with_one_terminal_event() -> None:
    async def wait(state: MessagesState) -> None:
        await anyio.sleep_forever()

    run = a_run(chain(speaking(says("Half.")), wait))
    run.start()
    async for batch in run.batches(quiet_seconds=5):
        if any("delta" in entry.type for entry in batch):
            break
    await run.aclose()
    events = [entry.event async for batch in run.batches(quiet_seconds=5) for entry in batch]
    assert ending(events) == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "run_cancelled"
    assert run.status == "cancelled"
