"""Model servers that run on this machine are found, named with their settings, and never waited for."""

import json
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from graph_agent.commands.machine_checks import running
from graph_agent.local.model_servers import MOST_BYTES, PLACES, ModelServer, Place, find_model_servers

PATIENT = 30.0
"""Seconds for a search whose result a test looks at: a busy machine may be slow to answer."""

Start = Callable[[Any], int]


class Handler(BaseHTTPRequestHandler):
    """Answers its own paths with JSON, and all others with 404."""

    answers: dict[str, Any]

    def do_GET(self) -> None:
        """Answer, and note what was asked."""
        found = self.answers.get(self.path)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(answers: dict[str, Any]) -> Iterator[int]:
    """A server on a free port of loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Handler,), {"answers": answers}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server with these answers, and returns its port."""
    with ExitStack() as stack:
        yield lambda answers: stack.enter_context(served(answers))


def listed(*names: str, owner: str = "vllm") -> dict[str, Any]:
    """OpenAI's list of models."""
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]}


def found(port: int, path: str = "/v1/models", name: str = "vLLM") -> ModelServer | None:
    """What is found at this port."""
    return next(iter(find_model_servers([Place(name, port, path)], seconds=PATIENT)), None)


def test_ollama_is_named_with_its_chat_models_and_the_two_settings_that_use_the_first(start: Start) -> None:
    models = [
        {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
        {"name": "qwen2.5:7b", "details": {"family": "qwen2"}},
        *({"name": f"llama{number}:8b", "details": {"family": "llama"}} for number in range(5)),
    ]
    port = start({"/api/tags": {"models": models}})
    server = found(port, "/api/tags", "Ollama")
    assert server is not None
    assert server.models[0] == "qwen2.5:7b"
    assert "nomic-embed-text:latest" not in server.models
    assert str(server).endswith(f"runs on port {port} with qwen2.5:7b, llama0:8b, llama1:8b, llama2:8b and 2 more")
    assert server.settings == (
        f"GRAPH_AGENT_LOCAL_MODEL=http://127.0.0.1:{port}/v1 GRAPH_AGENT_LOCAL_MODEL_NAME=qwen2.5:7b"
    )


def test_a_model_that_ollama_asks_on_another_machine_is_not_named(start: Start) -> None:
    cloud = {"remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443", "details": {"family": "gptoss"}}
    here = {"name": "qwen2.5:7b", "details": {"family": "qwen2"}}
    port = start({"/api/tags": {"models": [{"name": "gpt-oss:120b-cloud", **cloud}, here]}})
    server = found(port, "/api/tags", "Ollama")
    assert server is not None
    assert server.models == ("qwen2.5:7b",)
    alone = start({"/api/tags": {"models": [{"name": "gpt-oss:120b-cloud", **cloud}]}})
    assert found(alone, "/api/tags", "Ollama") is None


@pytest.mark.parametrize(("owner", "name"), [("vllm", "vLLM"), ("llamacpp", "llama.cpp"), ("me", "A model server")])
def test_a_server_on_a_port_of_many_programs_is_called_what_it_says_it_is(start: Start, owner: str, name: str) -> None:
    server = found(start({"/v1/models": listed("my/model", owner=owner)}))
    assert server is not None
    assert server.name == name


def test_the_service_of_graph_agent_is_no_model_server(start: Start) -> None:
    assert found(start({"/v1/models": listed("assistant", owner="graph-agent")})) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"<!doctype html>",
        b"[" * 100_000,
        {"data": "none"},
        {"data": [None, {"id": 7}, {"id": ""}]},
        [],
        listed("text-embedding-3-small"),
        listed("two\nlines"),
        listed("\x1b[2Jcleared"),
        listed("x" * 81),
        listed("m") | {"filling": "x" * MOST_BYTES},
    ],
    ids=["page", "deep", "no list", "no names", "no object", "embeds", "line break", "escape", "long", "too large"],
)
def test_what_is_no_list_of_chat_models_is_not_a_model_server(start: Start, answer: Any) -> None:
    assert found(start({"/v1/models": answer})) is None


def test_a_name_with_signs_of_the_shell_is_quoted(start: Start) -> None:
    server = found(start({"/v1/models": listed("a model; $(rm)")}))
    assert server is not None
    assert shlex.split(server.settings)[1] == "GRAPH_AGENT_LOCAL_MODEL_NAME=a model; $(rm)"


def test_servers_that_do_not_answer_hide_no_other_and_are_not_waited_for(start: Start) -> None:
    port = start({"/v1/models": listed("quick")})
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as gone:
        places = [Place("silent", silent.getsockname()[1]), Place("gone", gone.getsockname()[1]), Place("vLLM", port)]
        gone.close()
        # Without the limit, the silent one would keep the search for ever.
        assert [server.models for server in find_model_servers(places, seconds=3.0)] == [("quick",)]


def test_a_server_is_asked_without_a_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_AGENT_LOCAL_API_KEY", "sk-secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def hear() -> None:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(65536))

        thread = threading.Thread(target=hear)
        thread.start()
        assert found(server.getsockname()[1]) is None
        thread.join()
    assert heard[0].startswith(b"GET /v1/models HTTP/1.0\r\n")
    assert b"secret" not in heard[0]


def test_the_doctor_names_each_server_with_its_settings(start: Start) -> None:
    port = start({"/v1/models": listed("big")})
    [check] = running([Place("vLLM", port)])
    assert check.ok
    assert check.what == (
        f"vLLM runs on port {port} with big; to use it: GRAPH_AGENT_LOCAL_MODEL=http://127.0.0.1:{port}/v1 "
        "GRAPH_AGENT_LOCAL_MODEL_NAME=big"
    )


def test_dev_says_how_to_use_a_model_server_that_has_the_port_of_the_service(start: Start, tmp_path: Path) -> None:
    port = start({"/v1/models": listed("big")})
    (tmp_path / "langgraph.json").write_text('{"graphs": {"mine": "./mine.py:graph"}}')
    ran = subprocess.run(
        [sys.executable, "-m", "graph_agent", "dev", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "GRAPH_AGENT_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 2
    assert f"vLLM runs on port {port} with big, and the service needs another port." in ran.stderr
    assert f"GRAPH_AGENT_LOCAL_MODEL_NAME=big GRAPH_AGENT_PORT={port + 1} " in ran.stderr


def test_the_usual_port_of_each_server_is_asked() -> None:
    assert {place.name: place.port for place in PLACES} == {
        "Ollama": 11434,
        "LM Studio": 1234,
        "vLLM": 8000,
        "llama.cpp": 8080,
    }
