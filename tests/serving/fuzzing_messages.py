"""Sends messages that are mutated at random over the WebSocket, to AG-UI and to the MCP server.

`fuzzing` sends what the description of the API allows. These are the faces whose messages have an order or a protocol
of their own, so the generator begins with messages that are good, changes them, and goes on with ids from answers.
`make fuzz` runs it for minutes. The tests run a small part of it.
"""

import argparse
import asyncio
import json
import logging
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import httpx
import jsonschema_rs
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from graph_agent.protocol import ag_ui_schemas
from graph_agent.protocol.ag_ui_fields import RUN_AGENT_INPUT
from graph_agent.protocol.field_checks import fields_schema
from graph_agent.protocol.socket_messages import CREATE_SCHEMA
from graph_agent.protocol.steer_fields import STEER_SCHEMA
from graph_agent.serving.app import create_app
from graph_agent.serving.routes.sockets import description
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback

SECRET = "planted-secret-of-a-library"
"""Is in the messages of foreign exceptions, and must not leave the graph."""

PATIENCE = 60.0
"""Seconds after which an answer counts as one that does not come. A loaded machine needs a few."""

ID = re.compile(r"\b(?:resp|conv|mcpr|call|msg|steer)_[0-9a-f]{8,}")
TERMINAL = {"response.completed", "response.incomplete", "response.failed"}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}

ODD: Sequence[Any] = (
    *(None, True, False, 0, -1, 2**31, 2**63, 10**40, 0.5, 1e308, float("nan"), "", " ", "\x00", "\ud800", "\u2028"),
    *("x" * 5_000, "../..", "${HOME}", "data:image/png;base64,AAAA", "https://127.0.0.1/", "response.steer"),
    *([], {}, [[]], [None], {"": ""}, {"type": "message"}, {"type": "message", "role": "user", "content": "Fail."}),
)
"""Values that something may not expect."""


def _nested() -> Any:
    value: Any = 1
    for _ in range(90):
        value = [value]
    return value


class Generator:
    """Messages made from good ones. The same seed makes the same, but for ids in answers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.ids: list[str] = ["resp_" + "0" * 24]

    def learn(self, text: str) -> None:
        """Take ids from an answer, to send some of them later."""
        self.ids = [*self.ids, *ID.findall(text)[-4:]][-40:]

    def message(self, good: Sequence[Any], schema: Mapping[str, Any]) -> str | bytes:
        """A message like one of these, with some changes. `schema` is that of good ones."""
        message = deepcopy(self.random.choice(good))
        for _ in range(self.random.choice((0, 0, 1, 1, 1, 2, 4))):
            self._change(message, schema)
        text = json.dumps(message)
        match self.random.randrange(40):
            case 0:
                return text[: self.random.randrange(len(text))]
            case 1:
                place = self.random.randrange(len(text))
                return text[:place] + self.random.choice('{}[]",:\\\x00\u00e9') + text[place:]
            case 2:
                return self.random.randbytes(self.random.randrange(1, 200))
        return text

    def _change(self, message: dict[str, Any], schema: Mapping[str, Any]) -> None:
        places = list(_places(message))
        holder, key = self.random.choice(places) if places else (message, "input")
        match self.random.randrange(7):
            case 0:
                holder.pop(key)
            case 1 | 2:
                holder[key] = _nested() if self.random.randrange(50) == 0 else deepcopy(self.random.choice(ODD))
            case 3:
                holder[key] = self.random.choice(self.ids)
            case 4 | 5:
                name = self.random.choice(list(schema["properties"]))
                message[name] = self.sample(schema["properties"][name])
            case _ if isinstance(holder, list):
                holder.insert(self.random.randrange(len(holder) + 1), deepcopy(self.random.choice(holder)))
            case _:
                holder[self.random.choice(("extra", "type", "id", ""))] = deepcopy(self.random.choice(ODD))

    def sample(self, schema: Mapping[str, Any], depth: int = 5) -> Any:
        """A value that the schema allows, more or less."""
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.random.choice(schema["enum"])
        if some := schema.get("anyOf") or schema.get("oneOf"):
            return self.sample(self.random.choice(some), depth)
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match self.random.choice(kind) if isinstance(kind, list) else kind:
            case "object":
                required = schema.get("required", ())
                inner = schema.get("properties", {}) if depth else {}
                return {
                    name: self.sample(one, depth - 1)
                    for name, one in inner.items()
                    if name in required or self.random.randrange(3) == 0
                }
            case "array":
                return [self.sample(schema.get("items", {}), depth - 1) for _ in range(self.random.randrange(3))]
            case "integer":
                return self.random.choice((0, 1, 20, 2**31 - 1))
            case "number":
                return self.random.choice((0, 0.5, 2))
            case "boolean":
                return self.random.random() < 0.5
            case "null":
                return None
        return self.random.choice(("a", "Hi", "Fail.", "auto", self.random.choice(self.ids)))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@dataclass
class Findings:
    """What came of the messages."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The face and the answer -> how often."""
    wrong: dict[tuple[str, str], str] = field(default_factory=dict)
    """The face and what was wrong -> the first message and its answer."""

    def find(self, face: str, what: str, sent: Any, got: Any = "") -> None:
        """Add something that is wrong."""
        self.wrong.setdefault((face, what), f"sent {sent!r:.800}\ngot {got!r:.800}")

    @property
    def sent(self) -> int:
        """How many messages had an answer."""
        return sum(self.counts.values())

    def of(self, face: str) -> set[str]:
        """The answers of a face."""
        return {answer for one, answer in self.counts if one == face}

    def __str__(self) -> str:
        """The figures, and what is wrong."""
        lines = []
        for face in sorted({face for face, _ in self.counts}):
            answers = {answer: count for (one, answer), count in sorted(self.counts.items()) if one == face}
            told = ", ".join(f"{answer}: {count}" for answer, count in answers.items())
            lines.append(f"{face}: {sum(answers.values())} messages ({told})")
        lines.append(f"{len(self.wrong)} findings")
        return "\n\n".join([*lines, *(f"{' / '.join(key)}\n{words}" for key, words in self.wrong.items())])


class Face:
    """A face of the service, which is sent messages one after the other."""

    name: str
    good: Sequence[Any]
    schema: Mapping[str, Any]

    def __init__(self, url: str, seed: int, findings: Findings) -> None:
        self.url, self.findings, self.generator = url, findings, Generator(seed)
        # A call is cancelled by the program that has sent it, and this tells them apart.
        self.headers = {**HEADERS, "user-agent": f"fuzzing-{seed}"}

    async def run(self, messages: int) -> None:
        """Send so many messages."""
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE) as http:
            described = (await http.get("/openapi.json")).json()["paths"]
            for _ in range(messages):
                message = self.generator.message(self.good, self.schema)
                address = self.address()
                body = message if isinstance(message, bytes) else message.encode("utf-8", "surrogatepass")
                try:
                    answer = await http.post(address, content=body, headers=self.headers)
                except httpx.HTTPError as error:
                    self.findings.find(self.name, type(error).__name__, message)
                    continue
                self._check(described[self.path(address)]["post"]["responses"], message, answer)

    def address(self) -> str:
        """Where the next message goes."""
        raise NotImplementedError

    def path(self, address: str) -> str:
        """The path of that address in the description of the API."""
        return address

    def told(self, message: Any, events: list[Any]) -> None:
        """Check the events of a stream."""
        raise NotImplementedError

    def _check(self, documented: Mapping[str, Any], message: Any, answer: httpx.Response) -> None:
        status = answer.status_code
        self.findings.counts[self.name, str(status)] += 1
        self.generator.learn(answer.text)
        if status >= 500 or str(status) not in documented:
            self.findings.find(self.name, f"status {status}", message, answer.text)
        self.check_text(message, answer.text)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            lines = answer.text.split("\n")
            self.told(message, [json.loads(line[6:]) for line in lines if line.startswith("data: ")])

    def check_text(self, message: Any, text: str) -> None:
        """Check that nothing is told that nobody should see."""
        if SECRET in text or "Traceback" in text:
            self.findings.find(self.name, "leak", message, text)


class AgUiFace(Face):
    """AG-UI."""

    name = "AG-UI"
    schema = fields_schema(RUN_AGENT_INPUT)
    good = (
        {"threadId": "t1", "runId": "r1", "messages": [{"id": "m1", "role": "user", "content": "Hi"}]},
        {"threadId": "t2", "runId": "r2", "messages": [{"id": "m1", "role": "user", "content": "Fail."}]},
        {"threadId": "t3", "runId": "r3", "messages": [{"id": "m1", "role": "user", "content": "Ask."}]},
        {
            "threadId": "t4",
            "runId": "r4",
            "messages": [
                {"id": "m1", "role": "system", "content": "Be kind."},
                {"id": "m2", "role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {
                    "id": "m3",
                    "role": "assistant",
                    "toolCalls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"id": "m4", "role": "tool", "toolCallId": "c", "content": "4"},
                {"id": "m5", "role": "reasoning", "content": "Well."},
                {"id": "m6", "role": "user", "content": "And now?"},
            ],
            "tools": [{"name": "f", "description": "d", "parameters": {"type": "object"}}],
            "context": [{"description": "d", "value": "v"}],
            "state": {"a": 1},
            "forwardedProps": {"b": [2]},
        },
        {"threadId": "t3", "runId": "r5", "messages": [], "resume": [{"interruptId": "i", "status": "resolved"}]},
    )
    _event = jsonschema_rs.Draft202012Validator(dict(ag_ui_schemas.EVENT))

    def address(self) -> str:
        """See the base class."""
        return self.generator.random.choice(("/ag-ui", "/api/ag-ui", "/ag-ui/answering", "/api/ag-ui/none"))

    def path(self, address: str) -> str:
        """See the base class."""
        return re.sub(r"(?<=ag-ui/)\w+", "{graph}", address)

    def told(self, message: Any, events: list[Any]) -> None:
        """See the base class."""
        for one in events:
            if not self._event.is_valid(one):
                self.findings.find(self.name, f"event {one.get('type')}", message, one)
        if not events or events[-1]["type"] not in ("RUN_FINISHED", "RUN_ERROR"):
            self.findings.find(self.name, "no end", message, events)
        elif sum(one["type"] in ("RUN_FINISHED", "RUN_ERROR") for one in events) > 1:
            self.findings.find(self.name, "two ends", message, events)


def _rpc(method: str, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, **more}


def _call(arguments: Any, **more: Any) -> dict[str, Any]:
    return _rpc("tools/call", params={"name": "answering", "arguments": arguments, **more})


class McpFace(Face):
    """The MCP server."""

    name = "MCP"
    schema = MappingProxyType(
        {
            "properties": {
                "jsonrpc": {"enum": ["2.0", "1.0"]},
                "id": {"type": ["string", "integer", "null", "number", "boolean", "array"]},
                "method": {
                    "enum": ["ping", "tools/list", "tools/call", "initialize", "notifications/cancelled", "x/y"]
                },
                "params": {"type": ["object", "array", "string", "null"]},
                "result": {"type": "object"},
                "error": {"type": "object", "properties": {"code": {"type": "integer"}, "message": {"type": "string"}}},
            }
        }
    )
    good = (
        _rpc("ping"),
        _rpc("tools/list", params={"cursor": None}),
        _rpc(
            "initialize",
            params={"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}},
        ),
        _call({"message": "Hi"}),
        _call({"message": "Fail."}),
        _call({"message": "Ask.", "custom_inputs": {"a": [1]}}, _meta={"progressToken": "p"}),
        _call({"message": "Hi", "conversation_id": "conv_1"}, _meta={"progressToken": 3}),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
    )

    def address(self) -> str:
        """See the base class."""
        return self.generator.random.choice(("/mcp", "/api/mcp"))

    def told(self, message: Any, events: list[Any]) -> None:
        """See the base class."""
        if not events or events[-1].get("id") != json.loads(message).get("id"):
            self.findings.find(self.name, "no answer", message, events)
        for one in events:
            if one.get("jsonrpc") != "2.0" or not {"result", "error", "method"} & one.keys():
                self.findings.find(self.name, "no message", message, one)


class SocketFace(Face):
    """The WebSocket."""

    name = "WebSocket"
    schema = CREATE_SCHEMA
    good = (
        {"type": "response.create", "input": "Hi"},
        {"type": "response.create", "input": "Hi", "store": False},
        {"type": "response.create", "input": "Fail.", "store": False},
        {"type": "response.create", "input": "Ask.", "custom_inputs": {"a": [1]}},
        {"type": "response.create", "input": "Hi", "generate": False},
        {
            "type": "response.create",
            "model": "answering",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "4"},
            ],
            "tools": [{"type": "function", "name": "f", "parameters": {}}],
            "metadata": {"a": "b"},
            "previous_response_id": None,
        },
    )
    steers = (
        {"type": "response.steer", "previous_response_id": "LAST", "input": "Stop."},
        {
            "type": "response.steer",
            "previous_response_id": "LAST",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Also."}]}],
        },
    )
    _event = jsonschema_rs.Draft202012Validator(dict(description()["serverMessage"]))
    _error = jsonschema_rs.Draft202012Validator(dict(description()["errorMessage"]))

    _sent_bytes = False
    """Whether the messages in flight have one that is no text, and others."""

    async def run(self, messages: int) -> None:
        """See the base class."""
        left = messages
        address = self.url.replace("http", "ws", 1) + "/v1/responses"
        while left > 0:
            # The client must not object to what it is told to send.
            async with connect(address, open_timeout=PATIENCE, ping_interval=None) as connection:
                try:
                    while left > 0:
                        left -= await self._exchange(connection)
                        if self.generator.random.randrange(60) == 0:
                            # Leave in the midst of it.
                            await connection.send(json.dumps(self.good[0]))
                            self.findings.counts[self.name, "left"] += 1
                            left -= 1
                            break
                except ConnectionClosed as closed:
                    # A reset may overtake the closing frame, if there is something that the server has not read.
                    code = closed.rcvd.code if closed.rcvd is not None else "unread" if self._sent_bytes else None
                    self.findings.counts[self.name, f"closed {code}"] += 1
                    left -= 1
                    if code not in (1000, 1007, 1008, "unread"):
                        self.findings.find(self.name, f"closed {code}", "")
                except TimeoutError:
                    self.findings.find(self.name, "no answer", "see the messages before")
                    return

    async def _exchange(self, connection: ClientConnection) -> int:
        """Send one message or some, and read the answer of each. Returns how many."""
        messages = [self.generator.message(self.good, self.schema)]
        if self.generator.random.randrange(4) == 0:
            messages += [self.generator.message(self.good, self.schema) for _ in range(3)]
        steers = self.generator.random.randrange(4) == 0
        self._sent_bytes = len(messages) > 1 and any(isinstance(one, bytes) for one in messages)
        for one in messages:
            # A surrogate half is no UTF-8, so it goes as bytes of a text frame.
            await connection.send(one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one, text=True)
        sent, answered = len(messages), 0
        while answered < sent:
            async with asyncio.timeout(PATIENCE):
                text = await connection.recv()
            got = json.loads(text)
            self.check_text(messages, str(text))
            self._check_message(messages, got)
            kind = got["type"]
            if kind == "response.created":
                self.generator.learn(str(text))
                if steers:
                    steer = self.generator.message(self.steers, STEER_SCHEMA)
                    if isinstance(steer, str):
                        await connection.send(steer.replace("LAST", got["response"]["id"]))
                        messages.append(steer)
                        sent += 1
            elif kind == "error":
                answered += 1
                self.findings.counts[self.name, f"error {got['status']}"] += 1
            elif kind in TERMINAL:
                if not (got["response"].get("metadata") or {}).get("successor_id"):
                    answered += 1
                    self.findings.counts[self.name, kind] += 1
            elif kind == "response.steer.accepted" or (kind == "response.steer.failed" and "id" not in got["steer"]):
                answered += 1
                self.findings.counts[self.name, kind] += 1
        return sent

    def _check_message(self, sent: Any, got: Any) -> None:
        if got["type"] == "error":
            if not self._error.is_valid(got) or got["status"] >= 500:
                self.findings.find(self.name, f"error {got['status']}", sent, got)
        elif not self._event.is_valid(got):
            flaw = next(iter(self._event.iter_errors(got)))
            self.findings.find(self.name, f"event {got['type']}: {flaw.message:.60}", sent, got)


FACES: Sequence[type[Face]] = (SocketFace, AgUiFace, McpFace)


async def _think(state: MessagesState) -> dict[str, Any]:
    # So that steers and messages that leave come in the midst of it.
    await asyncio.sleep(0.003)
    return {}


async def _answer(state: MessagesState) -> dict[str, Any]:
    said = state["messages"][-1].text if state["messages"] else ""
    if "Fail." in said:
        raise RuntimeError(SECRET)
    if "Ask." in said:
        interrupt({"question": "Really?"})
    return {"messages": [AIMessage(f"I have heard {len(state['messages'])} messages.")]}


def _graph() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("think", _think)
    builder.add_node("answer", _answer)
    builder.add_edge(START, "think")
    builder.add_edge("think", "answer")
    return builder.compile()


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if SECRET in line or record.exc_info or "Traceback" in line:
            self.lines.append(line)


async def _ended(url: str) -> str:
    """What of the service is in use after everything, or an empty text."""
    taken = ""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE) as http:
        for _ in range(200):
            lines = (await http.get("/metrics")).text.split("\n")
            busy = [one for one in lines if re.match(r"\w*(active_runs|_readers|websockets|run_slots_taken)\b", one)]
            taken = "; ".join(one for one in busy if not one.startswith("#") and not one.endswith(" 0.0"))
            if not taken:
                return ""
            await asyncio.sleep(0.1)
    return taken


def fuzzed_messages(*, messages: int, seed: int = 1, faces: Sequence[type[Face]] = FACES) -> Findings:
    """Send so many messages to each face, and report what came of them."""
    settings = Settings(
        tracing="off", store="memory", fallback_graph="answering", max_seconds=5.0, max_runs=64, socket_seconds=3600.0
    )
    app = create_app(settings, {"answering": _graph()}, environ={})
    findings, log = Findings(), _Log()
    logging.getLogger().addHandler(log)
    try:
        with on_loopback(app) as url:

            async def run() -> None:
                # Two clients of each kind, who meet in the same conversations.
                clients = [face(url, 1_000 * client + seed, findings) for face in faces for client in range(2)]
                await asyncio.gather(*(one.run(messages // 2) for one in clients))
                if taken := await _ended(url):
                    findings.find("the service", "something has not ended", "", taken)

            asyncio.run(run())
    finally:
        logging.getLogger().removeHandler(log)
    for line in log.lines:
        findings.find("the log", "leak", "", line)
    return findings


def main() -> int:
    """Fuzz by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000, help="messages to each face")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    findings = fuzzed_messages(messages=given.messages, seed=given.seed)
    sys.stdout.write(f"{findings}\nseed {given.seed}, {time.monotonic() - began:.0f} s\n")
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
