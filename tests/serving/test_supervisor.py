"""The supervisor and its agents as they are shipped: served, with Databricks' own clients against the stand-in."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage
from openai import OpenAI
from openai.types.responses.response_output_item import McpCall
from tests.serving.conftest import Service, serving
from tests.standin.server import INDEX, USAGE, ScriptedModel, StandIn, delta, says, stand_in
from tests.tracing.scripted import tree
from tests.wire import frames, gist, phases

from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest
from graph_agent.nodes.answerability import REQUEST
from graph_agent.tracing import RunRecord, RunRecorder

pytestmark = pytest.mark.anyio

MANIFEST = Path(__file__).parents[2] / "langgraph.json"
SEARCH = '{"query": "timeout"}'

Script = Callable[[Mapping[str, Any]], Sequence[Any]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with (
        stand_in(tmp_path_factory.mktemp("standin"), model=ScriptedModel()) as standing,
        pytest.MonkeyPatch.context() as m,
    ):
        for name, value in standing.environment().items():
            m.setenv(name, value)
        m.setenv("GRAPH_AGENT_INDEX", INDEX)
        m.setenv("GRAPH_AGENT_REQUEST_SECONDS", "5")
        yield standing


@pytest.fixture(scope="module")
def service(workspace: StandIn) -> Iterator[Service]:
    environ = workspace.environment()
    with serving(
        environ, config=MANIFEST, default_graph="supervisor", index=INDEX, request_seconds=5.0, max_seconds=30.0
    ) as running:
        yield running


@pytest.fixture
def play(workspace: StandIn) -> Iterator[Callable[..., None]]:
    """Gives each of the four who ask the model its lines: `supervisor`, `documents`, `data`, and `check`."""

    def give(**lines: Any) -> None:
        def script(body: Mapping[str, Any]) -> Sequence[Any]:
            line = lines[role(body)]
            if callable(line):
                return line(body)
            return line[-1] if has_passages(body) else line[min(results(body), len(line) - 1)]

        workspace.model.script = script

    workspace.model.bodies.clear()
    yield give
    workspace.clear_faults()


def role(body: Mapping[str, Any]) -> str:
    """Who asks."""
    names = {tool["function"]["name"] for tool in body.get("tools") or ()}
    if has_passages(body) and not body["messages"][-1]["content"].endswith(REQUEST):
        return "documents"
    if any(name.startswith("transfer_to_") for name in names):
        return "supervisor"
    return "documents" if "search_docs" in names else "data" if names else "check"


def has_passages(body: Mapping[str, Any]) -> bool:
    """Whether the check or the answer is asked for, from passages and the question alone."""
    return str(body["messages"][-1]["content"]).startswith("Passages:")


def results(body: Mapping[str, Any]) -> int:
    """How many rounds of tool results the asker has seen since the last question."""
    count = 0
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        count += message["role"] == "assistant"
    return count


_ids = iter(range(10**6))


def calls(*wanted: tuple[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The chunks of tool calls, each with an id nobody else has."""
    pieces = [
        {
            "index": place,
            "id": f"call_{next(_ids)}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for place, (name, arguments) in enumerate(wanted)
    ]
    return [delta(tool_calls=pieces), delta("tool_calls") | {"usage": USAGE}]


def to_documents(task: str = "What is the timeout?", **more: Any) -> tuple[str, dict[str, Any]]:
    return "transfer_to_documents", {"task": task, **more}


def to_data(task: str = "What is 6 * 7?", **more: Any) -> tuple[str, dict[str, Any]]:
    return "transfer_to_data", {"task": task, **more}


def search() -> list[dict[str, Any]]:
    return calls(("search_docs", {"query": "timeout"}))


def reckon() -> list[dict[str, Any]]:
    return calls(("main__tools__calculator", {"expression": "6 * 7"}))


THIRTY = says("Thirty ", "seconds ", "[1].")
YES = [says("yes")]


def ask(service: Service, question: Any = "What is the timeout?", **fields: Any) -> list[Any]:
    """The events of a streamed answer."""
    body = {"stream": True, "input": question, **fields}
    *events, done = frames(httpx.post(f"{service.url}/invocations", json=body, timeout=30).text)
    assert done == "[DONE]"
    return events


def asked(workspace: StandIn, who: str) -> list[list[dict[str, Any]]]:
    """The messages of every request of one of the four."""
    return [list(body["messages"]) for body in workspace.model.bodies if role(body) == who]


def spoken(messages: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Role and text, or the names of calls. Results of calls made at once, which come in any order, are sorted."""
    told = []
    for place, one in enumerate(messages):
        named = [call["function"]["name"] for call in one.get("tool_calls") or ()]
        told.append((0 if one["role"] == "tool" else place, one["role"], named or one["content"]))
    groups = groupby(told, key=lambda one: one[0])
    return [(role, text) for _, group in groups for _, role, text in sorted(group)]


# -- one agent -------------------------------------------------------------------------------------------------------


def test_one_agent_answers_the_caller_itself_with_its_citations(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(supervisor=[calls(to_documents())], documents=[search(), THIRTY], check=YES)
    events = ask(service)
    lines = gist(events)
    assert lines[:6] == [
        "0+ function_call",
        '0- call transfer_to_documents({"task": "What is the timeout?"})',
        "1+ function_call_output",
        "1- output 'Transferred to documents.'",
        "2+ function_call",
        f"2- call search_docs({SEARCH})",
    ]
    assert lines[6] == "3+ function_call_output"
    assert lines[8:10] == ["4+ message", "4: Thirty"]
    assert lines[-2:] == ["4- message final_answer completed 'Thirty seconds [1].'", "completed"]
    response = events[-1]["response"]
    (cited,) = response["output"][-1]["content"][0]["annotations"]
    assert (cited["type"], cited["url"]) == ("url_citation", response["custom_outputs"]["sources"][0]["doc_uri"])
    assert response["custom_outputs"]["sources"][0]["cited"]
    assert [role(body) for body in workspace.model.bodies] == ["supervisor", "documents", "check", "documents"]


def test_tokens_arrive_while_the_agent_is_still_writing(service: Service, play: Any) -> None:
    arrived = threading.Event()

    def slowly(body: Mapping[str, Any]) -> Iterator[Any]:
        yield delta(content="Thirty ")
        while not arrived.is_set():
            yield 0.01
        yield from says("seconds.")

    play(
        supervisor=[calls(to_documents())],
        documents=lambda body: slowly(body) if results(body) else search(),
        check=YES,
    )
    body = {"stream": True, "input": "What is the timeout?"}
    ids, text = set(), ""
    with httpx.stream("POST", f"{service.url}/invocations", json=body, timeout=20) as response:
        for line in response.iter_lines():
            event = json.loads(line[6:]) if line.startswith("data: {") else {"type": ""}
            if event["type"] == "response.output_text.delta":
                arrived.set()
                ids.add(event["item_id"])
                text += event["delta"]
            elif event["type"] == "response.output_item.done" and event["item"]["type"] == "message":
                ids.add(event["item"]["id"])
                assert event["item"]["content"][0]["text"] == text == "Thirty seconds."
    assert len(ids) == 1


def test_what_the_supervisor_says_before_its_hand_off_is_commentary(service: Service, play: Any) -> None:
    first = [delta(content="Let me pass that on."), *calls(to_data())]
    play(supervisor=[first], data=[reckon(), says("It is ", "42.")])
    response = ask(service, "What is 6 * 7?")[-1]["response"]
    assert phases(response) == [("Let me pass that on.", "commentary"), ("It is 42.", "final_answer")]


def test_an_agent_alone_sees_the_callers_own_words(service: Service, workspace: StandIn, play: Any) -> None:
    play(supervisor=[calls(to_data("Something else"))], data=[reckon(), says("It is 42.")])
    ask(service, "How much is six times seven?")
    assert spoken(asked(workspace, "data")[0])[1:] == [("user", "How much is six times seven?")]


# -- two agents ------------------------------------------------------------------------------------------------------

BOTH = "What is the timeout, and what is 6 * 7?"


def both(**more: Any) -> dict[str, Any]:
    return {
        "supervisor": [calls(to_documents(), to_data()), says("Thirty seconds ", "[1], ", "and 42.")],
        "documents": [search(), THIRTY],
        "data": [reckon(), says("It ", "is ", "42.")],
        "check": YES,
        **more,
    }


def test_two_agents_work_at_once_and_the_supervisor_alone_speaks(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both())
    events = ask(service, BOTH)
    response = events[-1]["response"]
    assert phases(response) == [("Thirty seconds [1], and 42.", "final_answer")]
    assert {event["item_id"] for event in events if event["type"] == "response.output_text.delta"} == {
        response["output"][-1]["id"]
    }
    assert handed_back(response) == {"transfer_to_documents": "Thirty seconds [1].", "transfer_to_data": "It is 42."}
    assert sorted(item["name"] for item in response["output"] if item["type"] == "function_call") == [
        "main__tools__calculator",
        "search_docs",
        "transfer_to_data",
        "transfer_to_documents",
    ]
    (cited,) = response["output"][-1]["content"][0]["annotations"]
    assert cited["url"] == response["custom_outputs"]["sources"][0]["doc_uri"]
    # The two agents asked while neither had answered: each its own task.
    assert spoken(asked(workspace, "documents")[0])[1:] == [("user", "What is the timeout?")]
    assert spoken(asked(workspace, "data")[0])[1:] == [("user", "What is 6 * 7?")]
    assert spoken(asked(workspace, "supervisor")[1])[1:] == [
        ("user", BOTH),
        ("assistant", ["transfer_to_documents", "transfer_to_data"]),
        ("tool", "It is 42."),
        ("tool", "Thirty seconds [1]."),
    ]


def handed_back(response: Mapping[str, Any]) -> dict[str, str]:
    """The results of hand-offs."""
    output = {item["call_id"]: item["output"] for item in response["output"] if item["type"] == "function_call_output"}
    asked_for = (item for item in response["output"] if item["type"] == "function_call")
    return {item["name"]: output[item["call_id"]] for item in asked_for if item["name"].startswith("transfer_to_")}


def test_agents_that_hand_back_work_in_turn_and_know_what_was_found(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(
        **both(
            supervisor=[calls(to_documents(hand_back=True)), calls(to_data("Convert it to minutes"))],
            data=[
                calls(("main__tools__convert_units", {"value": 30, "from_unit": "s", "to_unit": "min"})),
                says("0.5 minutes."),
            ],
        )
    )
    response = ask(service, "What is the timeout in minutes?")[-1]["response"]
    assert phases(response) == [("0.5 minutes.", "final_answer")]
    assert handed_back(response) == {
        "transfer_to_documents": "Thirty seconds [1].",
        "transfer_to_data": "Transferred to data.",
    }
    task = "Convert it to minutes\n\nKnown already:\n- Thirty seconds [1]."
    assert spoken(asked(workspace, "data")[0])[1:] == [("user", task)]


def test_eight_callers_at_once_each_get_their_own_answer_whole(service: Service, play: Any) -> None:
    def supervisor(body: Mapping[str, Any]) -> Sequence[Any]:
        number = next(one["content"] for one in body["messages"] if one["role"] == "user").split()[-1]
        wanted = to_documents(f"Timeout {number}"), to_data(f"Sum {number}")
        return says(f"Answer {number} ", "[1] ", f"is {number}.") if results(body) else calls(*wanted)

    def agent(first: Callable[[], Any]) -> Script:
        def line(body: Mapping[str, Any]) -> Sequence[Any]:
            task = next(one["content"] for one in reversed(body["messages"]) if one["role"] == "user")
            return says(*f"{task} is done".split(" ")) if results(body) else first()

        return line

    play(supervisor=supervisor, documents=agent(search), data=agent(reckon), check=YES)
    with ThreadPoolExecutor(8) as threads:
        streams = list(threads.map(lambda number: ask(service, f"Question {number}"), range(8)))
    for number, events in enumerate(streams):
        response = events[-1]["response"]
        assert phases(response) == [(f"Answer {number} [1] is {number}.", "final_answer")]
        assert handed_back(response) == {
            "transfer_to_documents": f"Timeout{number}isdone",
            "transfer_to_data": f"Sum{number}isdone",
        }
        by_item: dict[str, str] = {}
        for event in events:
            if event["type"] == "response.output_text.delta":
                by_item[event["item_id"]] = by_item.get(event["item_id"], "") + event["delta"]
        assert list(by_item.values()) == [f"Answer {number} [1] is {number}."]


# -- the conversation ------------------------------------------------------------------------------------------------


def test_the_output_resent_is_a_history_everyone_reads_their_part_of(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both())
    history = [{"role": "user", "content": BOTH}, *ask(service, BOTH)[-1]["response"]["output"]]
    known = [number for item in history for number in re.findall(r"^\[(\d+)\] ", str(item.get("output")), re.M)]
    new = max(map(int, known)) + 1
    play(
        supervisor=[calls(to_documents("How long?"))],
        documents=[search(), says("Still thirty ", f"[{new}].")],
        check=YES,
    )
    first_asked = len(workspace.model.bodies)
    response = ask(service, [*history, {"role": "user", "content": "How long?"}])[-1]["response"]
    del workspace.model.bodies[:first_asked]
    assert phases(response) == [(f"Still thirty [{new}].", "final_answer")]
    # Passages of an earlier turn keep their numbers: those found now have others.
    assert min(source["number"] for source in response["custom_outputs"]["sources"]) == new
    assert spoken(asked(workspace, "supervisor")[0])[1:] == [
        ("user", BOTH),
        ("assistant", ["transfer_to_documents", "transfer_to_data"]),
        ("tool", "It is 42."),
        ("tool", "Thirty seconds [1]."),
        ("assistant", "Thirty seconds [1], and 42."),
        ("user", "How long?"),
    ]
    seen = spoken(asked(workspace, "documents")[0])[1:]
    assert [one for one in seen if one[0] != "tool"] == [
        ("user", BOTH),
        ("assistant", ["search_docs"]),
        ("assistant", "Thirty seconds [1], and 42."),
        ("user", "How long?"),
    ]

    # A third turn, to the other agent, on top of both.
    history += [{"role": "user", "content": "How long?"}, *response["output"]]
    play(supervisor=[calls(to_data())], data=[reckon(), says("42.")])
    workspace.model.bodies.clear()
    response = ask(service, [*history, {"role": "user", "content": "And 6 * 7?"}])[-1]["response"]
    assert phases(response) == [("42.", "final_answer")]
    assert spoken(asked(workspace, "data")[0])[1:] == [
        ("user", BOTH),
        ("assistant", ["main__tools__calculator"]),
        ("tool", "42"),
        ("assistant", "Thirty seconds [1], and 42."),
        ("user", "How long?"),
        ("assistant", f"Still thirty [{new}]."),
        ("user", "And 6 * 7?"),
    ]


def test_the_openai_sdk_sees_hand_offs_as_calls_and_resends_them(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both())
    with OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client:
        with client.responses.stream(model="supervisor", input=BOTH) as stream:
            said = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            first = stream.get_final_response()
        play(supervisor=[calls(to_data())], data=[reckon(), says("42.")])
        workspace.model.bodies.clear()
        history: list[Any] = [{"role": "user", "content": BOTH}, *first.output]
        second = client.responses.create(model="supervisor", input=[*history, {"role": "user", "content": "Again?"}])
    assert said == first.output_text == "Thirty seconds [1], and 42."
    outputs = {item.name: item.output for item in first.output if isinstance(item, McpCall)}
    assert outputs["transfer_to_documents"] == "Thirty seconds [1]."
    assert outputs["transfer_to_data"] == "It is 42."
    assert second.output_text == "42."
    assert {text for who, text in spoken(asked(workspace, "supervisor")[0]) if who == "tool"} == {
        "Thirty seconds [1].",
        "It is 42.",
    }


# -- bad days --------------------------------------------------------------------------------------------------------


def test_an_agent_that_fails_alone_fails_the_run_as_its_own_error(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both(supervisor=[calls(to_documents())]))
    workspace.fail("vector-search/indexes/.*query", 403, times=9)
    events = ask(service)
    assert (events[-1]["code"], events[-1]["type"]) == ("retrieval_failed", "error")


def test_one_of_two_that_fails_is_told_to_the_supervisor_and_the_caller(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both(supervisor=[calls(to_documents(), to_data()), says("The index is down; and 42.")]))
    workspace.fail("vector-search/indexes/.*query", 403, times=9)
    response = ask(service, BOTH)[-1]["response"]
    assert phases(response) == [("The index is down; and 42.", "final_answer")]
    told = handed_back(response)["transfer_to_documents"]
    assert "may not use the index" in told
    assert spoken(asked(workspace, "supervisor")[1])[-2:] == [("tool", "It is 42."), ("tool", told)]


def test_when_all_that_were_asked_fail_the_run_fails_as_the_first_did(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(**both(supervisor=[calls(to_documents(hand_back=True)), says("I invent an answer.")]))
    workspace.fail("vector-search/indexes/.*query", 403, times=9)
    events = ask(service)
    assert (events[-1]["code"], events[-1]["type"]) == ("retrieval_failed", "error")
    assert len(asked(workspace, "supervisor")) == 1


def test_a_supervisor_that_only_hands_off_must_answer_after_three_times(
    service: Service, workspace: StandIn, play: Any
) -> None:
    def restless(body: Mapping[str, Any]) -> Sequence[Any]:
        return says("Enough.") if body.get("tool_choice") == "none" else calls(to_data(hand_back=True))

    play(supervisor=restless, data=[reckon(), says("42.")])
    response = ask(service, "What is 6 * 7?")[-1]["response"]
    assert (response["status"], phases(response)) == ("completed", [("Enough.", "final_answer")])
    assert [body.get("tool_choice") for body in workspace.model.bodies if role(body) == "supervisor"] == [
        "required",
        None,
        None,
        "none",
    ]


def test_an_endpoint_that_hands_off_for_ever_is_stopped_with_what_the_agents_said(service: Service, play: Any) -> None:
    play(supervisor=lambda body: calls(to_data(hand_back=True)), data=[reckon(), says("42.")])
    response = ask(service, "What is 6 * 7?")[-1]["response"]
    assert (response["status"], phases(response)) == ("completed", [("42.\n\n42.\n\n42.", "final_answer")])


def test_a_hand_off_to_nobody_is_told_so_and_the_supervisor_tries_again(
    service: Service, workspace: StandIn, play: Any
) -> None:
    play(
        supervisor=[calls(("transfer_to_weather", {"task": "?"})), calls(to_data())],
        data=[reckon(), says("42.")],
    )
    response = ask(service, "What is 6 * 7?")[-1]["response"]
    assert phases(response) == [("42.", "final_answer")]
    assert handed_back(response)["transfer_to_weather"] == (
        "There is no agent behind 'transfer_to_weather'; call one of transfer_to_data, transfer_to_documents."
    )


def test_an_agent_that_only_calls_tools_spends_the_runs_budget(service: Service, play: Any) -> None:
    play(**both(data=lambda body: reckon()))
    response = ask(service, BOTH, max_tool_calls=6)[-1]["response"]
    assert (response["status"], response["metadata"]["budget"]) == ("incomplete", "tool_calls")


async def test_functions_that_are_down_are_a_warning_beside_the_answer(workspace: StandIn, play: Any) -> None:
    # Without tools it asks as whoever checks passages does.
    play(supervisor=[calls(to_data())], check=[says("I cannot work that out now.")])
    workspace.fail("/api/2.0/mcp/", 503, times=9)
    catalog = Catalog(read_manifest(MANIFEST))
    await catalog.open()
    end = await (await catalog.get("supervisor")).ainvoke({"messages": [HumanMessage("What is 6 * 7?")]})
    assert end["messages"][-1].text == "I cannot work that out now."
    (warning,) = end["custom_outputs"]["warnings"]
    assert warning.startswith("The tools of main.tools are not available now")


def test_a_tool_the_agent_does_not_have_is_told_so_and_it_goes_on(service: Service, play: Any) -> None:
    play(supervisor=[calls(to_documents())], documents=[calls(("calculator", {})), search(), THIRTY], check=YES)
    response = ask(service)[-1]["response"]
    assert phases(response) == [("Thirty seconds [1].", "final_answer")]


# -- the trace, and Studio -------------------------------------------------------------------------------------------


async def test_the_trace_of_two_agents_at_once_is_one_tree(workspace: StandIn, play: Any) -> None:
    play(**both())
    catalog = Catalog(read_manifest(MANIFEST))
    await catalog.open()
    asking = checking = ("CHAT_MODEL", "local-model", None)
    plan = ("CHAIN", "planner", None, asking)
    look = ("CHAIN", "retriever", None, ("RETRIEVER", "search_docs", None))
    use = ("CHAIN", "tools", None, ("TOOL", "main__tools__calculator", None))
    record = await _record(catalog)
    root, *steps = tree(record)[1:]
    assert root == "supervisor"
    first, *agents, last = steps[1:]
    assert first == last == ("CHAIN", "supervisor", None, asking)
    assert {step[1]: step for step in agents} == {
        "documents": (
            "CHAIN",
            "documents",
            None,
            ("CHAIN", "documents", None, plan, look, ("CHAIN", "planner", None, checking, asking)),
        ),
        "data": ("CHAIN", "data", None, ("CHAIN", "data", None, plan, use, plan)),
    }
    # No span stands outside that tree.
    assert [span for span in record.spans if span.parent is None] == [record.root]
    assert len(record.spans) == 1 + 2 + 2 + 7 + 2 + 6 + 2


async def _record(catalog: Catalog) -> RunRecord:
    graph: Any = await catalog.get("supervisor")
    recorder = RunRecorder(graph="supervisor", inputs=BOTH)
    stream = graph.astream(
        {"messages": [HumanMessage(BOTH)]},
        {"callbacks": [recorder]},
        stream_mode=["messages", "updates"],
        subgraphs=True,
        version="v2",
    )
    async for _ in stream:
        pass
    return recorder.close()


async def test_the_manifest_loads_every_graph_without_a_call_and_studio_sees_the_agents(workspace: StandIn) -> None:
    workspace.forget()
    catalog = Catalog(read_manifest(MANIFEST))
    await catalog.open()
    graphs: dict[str, Any] = {name: await catalog.get(name) for name in catalog.names}
    assert list(graphs) == ["assistant", "supervisor", "starter", "starter_search"]
    assert [graph.checkpointer for graph in graphs.values()] == [None] * 4
    assert dict(graphs["supervisor"].get_subgraphs()).keys() == {"documents", "data"}
    edges = {(edge.source, edge.target) for edge in graphs["supervisor"].get_graph().edges}
    assert {("supervisor", "documents"), ("documents", "supervisor"), ("data", "__end__")} <= edges
    assert workspace.requests == []
