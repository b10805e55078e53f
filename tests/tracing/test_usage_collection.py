"""What MLflow sends to its developers and fetches from a website: nothing in graph-agent's own processes, unless
somebody wants it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# MLflow collects nothing in tests and in CI by itself.
QUIET_ANYWAY = ("PYTEST_", "CI", "GITHUB_", "MLFLOW_", "DO_NOT_TRACK", "GITLAB_", "JENKINS_", "TF_BUILD", "CODEBUILD_")

COMMANDS = {
    "graph-agent": "from graph_agent.commands.cli import main; main(['graph', 'none'])",
    "evals": "from graph_agent.evaluating.command import main; main(['--dataset', 'none'])",
}
PRICED = """
import os, sys
def seen(event, given):
    if event == "socket.getaddrinfo":
        print([given[0]], flush=True)
        # At once: MLflow would try again for ten seconds.
        os._exit(0)
sys.addaudithook(seen)
from mlflow.entities import Span
from mlflow.tracing.otel.translation import translate_span_when_storing
call = {"mlflow.llm.model": "databricks-claude-sonnet-4", "mlflow.llm.provider": "databricks",
        "mlflow.chat.tokenUsage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}}
import json
call = {name: json.dumps(value) for name, value in call.items()} | {"mlflow.traceRequestId": json.dumps("tr-1")}
translate_span_when_storing(Span.from_dict({
    "trace_id": "tr-1", "span_id": "00f067aa0ba902b7", "parent_span_id": None, "name": "call", "attributes": call,
    "start_time_unix_nano": 1, "end_time_unix_nano": 2, "status": {"code": "OK", "message": ""}}))
print([])
"""
COLLECTS = "; from mlflow.telemetry.utils import is_telemetry_disabled; print(not is_telemetry_disabled())"


def last_line(code: str, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(QUIET_ANYWAY)}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_switch_it_off(command: str) -> None:
    assert last_line(command + COLLECTS) == "False"


def test_it_can_be_had() -> None:
    assert (
        last_line(COMMANDS["graph-agent"] + COLLECTS, MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="false") == "True"
    )


def test_a_span_with_tokens_of_a_known_model_is_stored_without_asking_a_website_for_prices() -> None:
    assert last_line(f"{COMMANDS['graph-agent']}\n{PRICED}") == "[]"


def test_prices_can_be_had_from_an_address_that_is_named() -> None:
    named = "http://prices.invalid"
    assert last_line(f"{COMMANDS['graph-agent']}\n{PRICED}", MLFLOW_MODEL_CATALOG_URI=named) == "['prices.invalid']"
