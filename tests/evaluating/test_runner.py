"""The runner against agents that behave and agents that do not, over real sockets."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.evaluating.test_answer_stream import events, lines, message
from tests.evaluating.test_rows import row
from tests.standin.server import dead_host

from graph_agent.evaluating.errors import AgentUnreachable, BadRecords
from graph_agent.evaluating.progress import Lines, Silent
from graph_agent.evaluating.records import Record, RecordsFile, read_records
from graph_agent.evaluating.row_reader import read_row
from graph_agent.evaluating.rows import Row
from graph_agent.evaluating.runner import Agent, Limits, ask_all
from graph_agent.testing import on_loopback

Act = Callable[[dict[str, Any]], Response]


class Agentlike:
    """Answers every request with the same stream, unless `act` says otherwise; keeps what it was asked."""

    def __init__(self, act: Act | None = None, pause: float = 0.0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.forgotten: list[str] = []
        self.at_once = self.most_at_once = 0
        self._act = act
        self._pause = pause

    async def answer(self, request: Request) -> Response:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        if self._act is not None:
            return self._act(self.bodies[-1])
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def forget(self, request: Request) -> Response:
        self.forgotten.append(request.path_params["name"])
        return JSONResponse({})

    async def _stream(self) -> AsyncIterator[str]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._pause)
        for line in lines(events()):
            yield f"{line}\n\n"
        self.at_once -= 1

    @contextmanager
    def served(self) -> Iterator[Agent]:
        routes = [
            Route("/responses", self.answer, methods=["POST"]),
            Route("/conversations/{name}", self.forget, methods=["DELETE"]),
        ]
        with on_loopback(Starlette(routes=routes)) as url:
            yield Agent(url=url, graph="mine")


def rows(count: int, **changes: Any) -> list[Row]:
    return [read_row(json.dumps(row(id=f"r{n}", **changes)), "here") for n in range(count)]


def asked(asked_rows: Sequence[Row], agent: Agent, folder: Path, **limits: Any) -> list[Record]:
    file = RecordsFile(folder / "records.jsonl", {"model": "m"})
    return asyncio.run(ask_all(asked_rows, agent, file, limits=Limits(**limits), progress=Silent()))


def test_every_row_is_asked_with_graph_and_trace_header_and_recorded_in_order(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        records = asked(rows(9), agent, tmp_path)
    assert [record.id for record in records] == [f"r{n}" for n in range(9)]
    assert {record.last.answer for record in records} == {"It is 8000. [1]"}
    assert records[0].last.trace_id == "tr-1"
    assert agentlike.bodies[0] == {
        "input": [{"role": "user", "content": "Which port?"}],
        "stream": True,
        "store": False,
        "model": "mine",
    }
    assert agentlike.headers[0]["x-mlflow-return-trace-id"] == "true"
    subject, kept = read_records(tmp_path / "records.jsonl")
    assert subject == {"model": "m"}
    assert {record.id: record for record in kept} == {record.id: record for record in records}


def test_several_rows_are_asked_at_once_and_no_more(tmp_path: Path) -> None:
    agentlike = Agentlike(pause=0.05)
    with agentlike.served() as agent:
        asked(rows(9), agent, tmp_path, at_once=3)
    assert agentlike.most_at_once == 3


def test_the_history_is_resent_with_each_turn(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=["And then?", "And now?"]), agent, tmp_path)
    output = events()[-1]["response"]["output"]
    first = {"role": "user", "content": "Which port?"}
    second, third = ({"role": "user", "content": text} for text in ("And then?", "And now?"))
    assert [body["input"] for body in agentlike.bodies] == [
        [first],
        [first, *output, second],
        [first, *output, second, *output, third],
    ]
    assert [turn.question for turn in record.turns] == ["Which port?", "And then?", "And now?"]


class Storing(Agentlike):
    """Says that it stores every response in one conversation."""

    def whole(self) -> list[dict[str, Any]]:
        whole = events()
        stored = {"id": f"resp_{len(self.bodies)}", "store": True, "custom_outputs": {"thread_id": "conv_1"}}
        whole[-1] = {**whole[-1], "response": whole[-1]["response"] | stored}
        return whole

    async def _stream(self) -> AsyncIterator[str]:
        for line in lines(self.whole()):
            yield f"{line}\n\n"


@pytest.mark.parametrize(
    ("stored", "second"),
    [("conversation", {"conversation": "conv_1"}), ("previous_response_id", {"previous_response_id": "resp_1"})],
)
def test_a_stored_conversation_is_continued_with_what_is_new_and_deleted_at_the_end(
    stored: str, second: dict[str, str], tmp_path: Path
) -> None:
    agentlike = Storing()
    turns = ["And then?", {"says": "Or else?", "after": 1}, "And now?"]
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=turns, stored=stored), agent, tmp_path)
    fourth = {"conversation": "conv_1"} if stored == "conversation" else {"previous_response_id": "resp_3"}
    shared = {"stream": True, "store": True, "model": "mine"}
    assert agentlike.bodies == [
        {"input": [{"role": "user", "content": said}], **shared, **continued}
        for said, continued in (
            ("Which port?", {}),
            ("And then?", second),
            ("Or else?", {"previous_response_id": "resp_1"}),
            ("And now?", fourth),
        )
    ]
    assert [turn.question for turn in record.turns] == ["Which port?", "And then?", "Or else?", "And now?"]
    assert agentlike.forgotten == ["conv_1"]


class Asking(Storing):
    """Asks for an approval first, and then says what it did."""

    def whole(self) -> list[dict[str, Any]]:
        request = {"type": "mcp_approval_request", "id": "mcpr_1", "name": "send", "arguments": '{"to": "ann"}'}
        result = {"type": "function_call_output", "id": "fo_1", "call_id": "mcpr_1", "output": "sent"}
        done = super().whole()[-1]
        output = [request] if len(self.bodies) == 1 else [result, message() | {"phase": "final_answer"}]
        whole: list[dict[str, Any]] = [{"type": "response.created"}]
        for place, item in enumerate(output):
            text = [{"type": "response.output_text.delta", "item_id": item["id"], "delta": "It is 8000. [1]"}]
            whole += [
                {"type": "response.output_item.added", "output_index": place, "item": item},
                *(text if item["type"] == "message" else []),
                {"type": "response.output_item.done", "output_index": place, "item": item},
            ]
        whole.append({**done, "response": done["response"] | {"output": output}})
        return [event | {"sequence_number": number} for number, event in enumerate(whole)]


def test_a_turn_answers_the_approvals_that_were_asked_for(tmp_path: Path) -> None:
    agentlike = Asking()
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=[{"approve": True, "reason": "fine"}], stored="conversation"), agent, tmp_path)
    assert agentlike.bodies[1]["input"] == [
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True, "reason": "fine"}
    ]
    assert [turn.problems for turn in record.turns] == [[], []]
    assert record.last.calls == [{"name": "send", "arguments": {"to": "ann"}, "call_id": "mcpr_1", "output": "sent"}]


def test_an_approval_that_nobody_asked_for_is_a_problem_which_names_the_tool_that_ran(tmp_path: Path) -> None:
    agentlike = Storing()
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=[{"approve": True}], stored="conversation"), agent, tmp_path)
    assert record.last.problems == ["the turn asked for no approval; tools that ran: search_docs"]
    assert len(agentlike.bodies) == 1


def test_a_service_that_does_not_store_a_stored_row_has_a_problem(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=["And then?"], stored="conversation"), agent, tmp_path)
    assert record.last.problems == ["the response was not stored"]
    assert len(record.turns) == 1


def test_a_conversation_ends_with_the_turn_that_failed(tmp_path: Path) -> None:
    agentlike = Agentlike(lambda body: JSONResponse({"error": {"code": "graph_failed", "message": "m"}}, 500))
    with agentlike.served() as agent:
        (record,) = asked(rows(1, turns=["And then?"]), agent, tmp_path)
    assert len(record.turns) == 1
    assert (record.last.status, record.last.error) == ("refused", {"code": "graph_failed", "message": "m"})


def test_a_stream_that_breaks_off_is_recorded_as_an_error(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[str]:
        for line in lines(events())[:6]:
            yield f"{line}\n\n"
        raise ConnectionResetError

    agentlike = Agentlike(lambda body: StreamingResponse(broken()))
    with agentlike.served() as agent:
        (record,) = asked(rows(1), agent, tmp_path)
    assert record.last.error is not None
    assert record.last.error["code"] == "stream_broken"
    assert "no terminal event" in record.last.problems


def test_a_silent_agent_is_given_up(tmp_path: Path) -> None:
    agentlike = Agentlike(pause=2.0)
    with agentlike.served() as agent:
        (record,) = asked(rows(1), agent, tmp_path, silence=0.2)
    assert record.last.error == {"code": "stream_broken", "message": "ReadTimeout"}


def test_a_busy_agent_is_asked_again(tmp_path: Path) -> None:
    refused: list[int] = []

    def act(body: dict[str, Any]) -> Response:
        if not refused:
            refused.append(429)
            return JSONResponse({}, 429, {"retry-after": "0"})
        return StreamingResponse(iter([f"{line}\n\n" for line in lines(events())]))

    with Agentlike(act).served() as agent:
        (record,) = asked(rows(1), agent, tmp_path)
    assert (refused, record.last.status) == ([429], "completed")


def test_nobody_at_the_address_is_an_error_that_names_it(tmp_path: Path) -> None:
    with dead_host() as url, pytest.raises(AgentUnreachable, match=url):
        asked(rows(3), Agent(url=url), tmp_path)


def test_a_graph_that_is_not_served_is_an_error_that_names_it(tmp_path: Path) -> None:
    with (
        Agentlike(lambda body: JSONResponse({}, 404)).served() as agent,
        pytest.raises(AgentUnreachable, match="no graph 'mine'"),
    ):
        asked(rows(1), agent, tmp_path)


@pytest.mark.parametrize("status", [401, 403, 302])
def test_refused_credentials_are_an_error_and_no_answer(tmp_path: Path, status: int) -> None:
    headers = {"location": "https://login.example"}
    with (
        Agentlike(lambda body: Response(status_code=status, headers=headers)).served() as agent,
        pytest.raises(AgentUnreachable, match="GRAPH_AGENT_BEARER_TOKEN"),
    ):
        asked(rows(1), agent, tmp_path)


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    # Long enough for a busy machine to begin two rows within the time, and to begin no more than four.
    agentlike = Agentlike(pause=1.5)
    with agentlike.served() as agent:
        began = time.monotonic()
        early = asked(rows(8), agent, tmp_path, at_once=2, seconds=2.5)
        assert time.monotonic() - began < 20
        assert 0 < len(early) < 8
        # As if it had been stopped in the middle of a line.
        with (tmp_path / "records.jsonl").open("a") as file:
            file.write('{"id": "r7", "dig')
        whole = asked(rows(8), agent, tmp_path)
    assert len(whole) == 8
    assert len(agentlike.bodies) == 8


def test_a_run_that_was_finished_begins_anew(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        asked(rows(2), agent, tmp_path)
        asked(rows(2), agent, tmp_path)
    assert len(agentlike.bodies) == 4


def test_answers_of_a_finished_run_are_taken_again_on_request_and_only_new_rows_are_asked(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        first = asked(rows(2), agent, tmp_path)
        for _ in range(2):
            file = RecordsFile(tmp_path / "records.jsonl", {"model": "m"}, reuse="finished")
            taken = asyncio.run(ask_all(rows(3), agent, file, limits=Limits(), progress=Silent()))
            assert taken[:2] == first
            assert [record.id for record in taken] == ["r0", "r1", "r2"]
    assert len(agentlike.bodies) == 3


def test_a_row_that_was_changed_meanwhile_is_asked_again(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        asked(rows(2), agent, tmp_path, seconds=-1.0)
        file = RecordsFile(tmp_path / "records.jsonl", {"model": "m"})
        for record in asked(rows(2), agent, tmp_path / "other"):
            file.append(record)
        agentlike.bodies.clear()
        changed = rows(1, tags={"kind": "other"})
        asked([*changed, rows(2)[1]], agent, tmp_path)
    assert len(agentlike.bodies) == 1


def test_a_run_that_was_stopped_is_asked_anew_on_request(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        asked(rows(2), agent, tmp_path, seconds=-1.0)
        RecordsFile(tmp_path / "records.jsonl", {"model": "m"}).append(asked(rows(1), agent, tmp_path / "other")[0])
        agentlike.bodies.clear()
        file = RecordsFile(tmp_path / "records.jsonl", {"model": "m"}, reuse="none")
        asyncio.run(ask_all(rows(2), agent, file, limits=Limits(), progress=Silent()))
    assert len(agentlike.bodies) == 2


def test_an_answer_may_hold_the_line_separators_of_unicode(tmp_path: Path) -> None:
    text = "One\u2028two\u2029three\x85four"

    def separated(body: dict[str, Any]) -> Response:
        frames = "\n\n".join(lines(events())).replace("It is 8000. [1]", text).replace('"It is "', f'"{text}"')
        return Response(frames + "\n\n", media_type="text/event-stream")

    with Agentlike(separated).served() as agent:
        (first,) = asked(rows(1), agent, tmp_path)
    assert first.last.status == "completed"
    assert text in first.last.answer
    assert read_records(tmp_path / "records.jsonl")[1] == [first]


def test_a_record_that_was_cut_within_a_character_is_asked_again(tmp_path: Path) -> None:
    agentlike = Agentlike()
    with agentlike.served() as agent:
        asked(rows(1), agent, tmp_path, seconds=-1.0)
        with (tmp_path / "records.jsonl").open("ab") as file:
            file.write('{"id": "r0", "answer": "é'.encode()[:-1])
        asked(rows(1), agent, tmp_path)
    assert len(agentlike.bodies) == 1


def test_a_password_in_an_address_is_not_shown(tmp_path: Path) -> None:
    with dead_host() as url, pytest.raises(AgentUnreachable) as raised:
        asked(rows(1), Agent(url=url.replace("//", "//bob:hunter2@")), tmp_path)
    assert raised.value.message == f"nothing answers at {url}; check that the service runs there"


@pytest.mark.parametrize("url", ["localhost:8000", "nowhere"])
def test_what_is_no_address_is_said_at_once(tmp_path: Path, url: str) -> None:
    with pytest.raises(AgentUnreachable, match="give --url as http"):
        asked(rows(1), Agent(url=url), tmp_path)


def test_records_of_another_subject_are_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    file = RecordsFile(path, {"version": 1})
    file.begin()
    with Agentlike().served() as agent:
        file.append(asked(rows(1), agent, tmp_path / "other")[0])
    assert list(RecordsFile(path, {"version": 1}).begin()) == ["r0"]
    assert list(RecordsFile(path, {"version": 2}).begin()) == []


def test_a_records_file_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadRecords, match="graph-agent eval"):
        read_records(tmp_path / "records.jsonl")
    path = tmp_path / "records.jsonl"
    path.write_text('{"subject": {}}\n{\n{}\n')
    with pytest.raises(BadRecords, match=r"records\.jsonl:2"):
        read_records(path)


def test_progress_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    file = RecordsFile(tmp_path / "records.jsonl", {})
    with Agentlike().served() as agent:
        asyncio.run(ask_all(rows(20), agent, file, limits=Limits(), progress=Lines(sys.stdout)))
    said = capsys.readouterr().out
    assert said.startswith("asking 20 rows\n")
    assert said.endswith("  20 of 20, 0 failed\n")
    assert len(said.splitlines()) == 11


def test_a_log_says_how_far_it_is_also_while_no_row_ends(tmp_path: Path) -> None:
    said = io.StringIO()
    file = RecordsFile(tmp_path / "records.jsonl", {})
    with Agentlike(pause=1.0).served() as agent:
        asyncio.run(ask_all(rows(3), agent, file, limits=Limits(at_once=1), progress=Lines(said, seconds=0.2)))
    told = said.getvalue().splitlines()
    assert told[0] == "asking 3 rows"
    assert "asking 3 rows, after 0 s" in told
    assert [line for line in told if line.startswith("  1 of 3, 0 failed, after ")]
    assert told[-1] == "  3 of 3, 0 failed"
    assert "\r" not in said.getvalue()
    assert "\x1b" not in said.getvalue()
