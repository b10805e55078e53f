"""MLflow's usage collection: off in every process that is graph-agent's own, unless somebody wants it."""

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
COLLECTS = "; from mlflow.telemetry.utils import is_telemetry_disabled; print(not is_telemetry_disabled())"


def collects(command: str, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(QUIET_ANYWAY)}
    ended = subprocess.run(
        [sys.executable, "-c", command + COLLECTS],
        env=kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_commands_switch_it_off(command: str) -> None:
    assert collects(command) == "False"


def test_it_can_be_had() -> None:
    assert collects(COMMANDS["graph-agent"], MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="false") == "True"
