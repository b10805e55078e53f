"""Asks the agent every row over HTTP, several rows at a time, and records each answer."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from graph_agent.evaluating.answer_stream import Listener
from graph_agent.evaluating.errors import AgentUnreachable
from graph_agent.evaluating.progress import Progress
from graph_agent.evaluating.records import Record, RecordsFile, Turn
from graph_agent.evaluating.rows import Row
from graph_agent.sse_lines import read_lines_async

_SIGNED_IN = re.compile(r"//[^/@]*@")
TRACE_HEADER = "x-mlflow-return-trace-id"
BUSY = (429, 503)
TRIES = 5
"""How often a request is sent while the service answers that it is busy. Such an answer must not be scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A running agent."""

    url: str
    path: str = "/responses"
    headers: Mapping[str, str] = field(default_factory=dict)
    graph: str | None = None
    """The graph to ask. `None` means the service's default graph."""

    @property
    def shown(self) -> str:
        """The address without its user and password."""
        return _SIGNED_IN.sub("//", self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many rows are asked at the same time, and for how long."""

    at_once: int = 4
    seconds: float | None = None
    """No row is started after so many seconds. Rows that were started are finished."""

    silence: float = 300.0
    """Seconds without a byte after which a request counts as failed."""


async def ask_all(
    rows: Sequence[Row], agent: Agent, file: RecordsFile, *, limits: Limits, progress: Progress
) -> list[Record]:
    """Ask every row, and return the records in the order of `rows`. Rows that are already in the file are not asked.

    If the time limit was reached, there are fewer records than rows. The same call then continues from there.

    Raises:
        AgentUnreachable: nothing answers at the agent's address, or the agent rejects the credentials.
    """
    wanted = {row.id: row.digest for row in rows}
    done = {name: record for name, record in file.begin().items() if wanted.get(name) == record.digest}
    ends = None if limits.seconds is None else time.monotonic() + limits.seconds
    progress.begin(total=len(rows), done=len(done))
    # One iterator for all workers: each takes the next row that no other worker has taken.
    waiting = iter([row for row in rows if row.id not in done])
    async with _client(agent, limits) as client:

        async def work() -> None:
            for row in waiting:
                if ends is not None and time.monotonic() > ends:
                    return
                record = await ask(client, agent, row)
                done[row.id] = record
                file.append(record)
                progress.row(record)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(limits.at_once):
                    group.create_task(work())
        except* AgentUnreachable as unreachable:
            # Every worker meets the same error. One is enough for the person who reads it.
            raise unreachable.exceptions[0] from None
        finally:
            progress.end()
    if len(done) == len(rows):
        file.finish()
    return [done[row.id] for row in rows if row.id in done]


async def ask(client: httpx.AsyncClient, agent: Agent, row: Row) -> Record:
    """Ask one row: its turns in order, each with the whole conversation so far, or in a stored conversation."""
    record = Record(id=row.id, digest=row.digest)
    if row.stored:
        try:
            await _ask_stored(client, agent, row, record)
        finally:
            await _forget(client, agent, {one.conversation for one in record.turns if one.conversation})
        return record
    conversation: list[Mapping[str, Any]] = list(row.input)
    record.turns.append(await _turn(client, agent, conversation, row.questions[0]))
    for said in row.turns:
        if record.last.status != "completed":
            # Later turns would refer to an answer that does not exist.
            break
        # The service keeps no conversation, so each request contains all earlier turns with their tool calls.
        conversation += [*record.last.items, {"role": "user", "content": said}]
        record.turns.append(await _turn(client, agent, conversation, said))
    return record


async def _ask_stored(client: httpx.AsyncClient, agent: Agent, row: Row, record: Record) -> None:
    asked: Sequence[Mapping[str, Any]] = row.input
    continued: Mapping[str, Any] = {}
    approvals: Sequence[Mapping[str, Any]] = ()
    for number, said in enumerate(row.questions, 1):
        approvals = ()
        if number > 1:
            if record.last.status != "completed":
                return
            before = record.turns[row.after.get(number, number - 1) - 1]
            asked = [{"role": "user", "content": said}]
            if number in row.decisions:
                approvals = before.approvals
                if not approvals:
                    ran = ", ".join(str(call["name"]) for call in before.calls if call["output"] is not None)
                    record.last.problems.append(
                        "the turn asked for no approval" + (f"; tools that ran: {ran}" if ran else "")
                    )
                    return
                asked = [
                    {"type": "mcp_approval_response", "approval_request_id": one["id"], **row.decisions[number]}
                    for one in approvals
                ]
            if row.stored == "conversation" and number not in row.after:
                continued = {"conversation": before.conversation}
            else:
                continued = {"previous_response_id": before.response_id}
        record.turns.append(await _turn(client, agent, asked, said, {"store": True, **continued}, approvals))
        if record.last.status == "completed" and record.last.conversation is None:
            record.last.problems.append("the response was not stored")
            return


async def _forget(client: httpx.AsyncClient, agent: Agent, conversations: Iterable[str]) -> None:
    """Delete what a row has stored, because the agent may be one that people use."""
    routes = agent.path.removesuffix("/responses")
    for one in conversations:
        # The row is asked already, and its answers count.
        with suppress(httpx.HTTPError):
            await client.delete(f"{routes}/conversations/{one}")


async def ask_once(agent: Agent, conversation: Sequence[Mapping[str, Any]], limits: Limits) -> Turn:
    """Ask for the answer to one conversation. Its last item is the user's message.

    Raises:
        AgentUnreachable: nothing answers at the agent's address, or the agent rejects the credentials.
    """
    async with _client(agent, limits) as client:
        return await _turn(client, agent, conversation, str(conversation[-1].get("content", "")))


async def _turn(
    client: httpx.AsyncClient,
    agent: Agent,
    conversation: Sequence[Mapping[str, Any]],
    question: str,
    stored: Mapping[str, Any] | None = None,
    approvals: Sequence[Mapping[str, Any]] = (),
) -> Turn:
    # Always streamed, to measure the first token and to check the events. `model` selects the graph. Not stored, if
    # the row does not say so: it must not depend on what earlier rows and evaluations asked.
    named = {"model": agent.graph} if agent.graph else {}
    body = {"input": list(conversation), "stream": True, "store": False, **(stored or {}), **named}
    for attempt in range(TRIES):
        listener, began = Listener(question, answered=approvals), time.perf_counter()
        try:
            async with client.stream("POST", agent.path, json=body) as response:
                if response.status_code in BUSY and attempt + 1 < TRIES:
                    await asyncio.sleep(_pause(response, attempt))
                    continue
                if response.status_code != 200:
                    return await _refused(response, listener, began, agent)
                async for line in read_lines_async(response.aiter_bytes()):
                    listener.feed(line, seconds=time.perf_counter() - began)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise AgentUnreachable(f"nothing answers at {agent.shown}; check that the service runs there") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise AgentUnreachable(f"{agent.shown!r} is not an address; give --url as http://host:port") from None
        except httpx.HTTPError as error:
            # A broken stream is a result of this row and must not end the evaluation.
            listener.turn.error = {"code": "stream_broken", "message": type(error).__name__}
        break
    return listener.end(seconds=time.perf_counter() - began)


async def _refused(response: httpx.Response, listener: Listener, began: float, agent: Agent) -> Turn:
    # Databricks Apps redirects a request without valid credentials to a login page.
    if response.status_code in (301, 302, 303, 307, 401, 403):
        raise AgentUnreachable(
            f"the agent does not accept the credentials (status {response.status_code}); "
            "set GRAPH_AGENT_BEARER_TOKEN, or use --app for a deployed app"
        )
    if response.status_code == 404:
        missing = f"graph {agent.graph!r}" if agent.graph else "agent"
        raise AgentUnreachable(f"there is no {missing} at {agent.shown}{agent.path}; see --graph and --url")
    await response.aread()
    turn = listener.turn
    turn.seconds = time.perf_counter() - began
    try:
        error = response.json()["error"]
        turn.error = {"code": error["code"], "message": error["message"]}
    except (ValueError, KeyError, TypeError):
        turn.error = {"code": f"http_{response.status_code}", "message": "the service gave no reason"}
    turn.status = "refused"
    return turn


def _pause(response: httpx.Response, attempt: int) -> float:
    # The header may also be a date. Our service sends seconds, and for other services the fallback is good enough.
    named = response.headers.get("retry-after", "")
    return float(named) if named.isdigit() else float(2**attempt)


@asynccontextmanager
async def _client(agent: Agent, limits: Limits) -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(limits.silence, connect=10)
    headers = {TRACE_HEADER: "true", **agent.headers}
    # A proxy of the environment must not be used for this machine.
    here = httpx.URL(agent.url).host in ("127.0.0.1", "localhost", "::1")
    async with httpx.AsyncClient(base_url=agent.url, headers=headers, timeout=timeout, trust_env=not here) as client:
        yield client
