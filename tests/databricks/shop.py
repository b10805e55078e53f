"""A project that is deployed to a stand-in workspace, for several test modules."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.standin.apps import ANSWERS, Apps, DeployedApp
from tests.standin.server import StandIn, stand_in

from graph_agent.deploying.deploy import Waits, deploy
from graph_agent.errors import AgentError, DeployRefused
from graph_agent.testing import on_loopback

BUNDLE = """
bundle: {name: shop}
variables:
  endpoint: {default: local-model}
  index: {default: main.docs.project}
  experiment: {description: its id}
  size: {default: MEDIUM}
resources:
  apps:
    it:
      name: shop-${bundle.target}
      description: A shop.
      source_code_path: .
      compute_size: ${var.size}
      resources:
        - {name: model, serving_endpoint: {name: "${var.endpoint}", permission: CAN_QUERY}}
        - name: index
          uc_securable: {securable_full_name: "${var.index}", securable_type: TABLE, permission: SELECT}
        - {name: experiment, experiment: {experiment_id: "${var.experiment}", permission: CAN_EDIT}}
      user_api_scopes: [model-serving, vector-search]
      permissions:
        - {level: CAN_USE, group_name: users}
sync:
  exclude: [/databricks.yml, /notes/, /graph-agent-version.txt]
targets:
  dev: {mode: development, default: true}
  prod: {mode: production, variables: {size: LARGE}}
"""


APP = """
command: [python, -m, graph_agent, serve]
env:
  - {name: PYTHONPATH, value: src}
  - {name: GRAPH_AGENT_MODEL, valueFrom: model}
"""


ROOT = "/Workspace/Users/me@localhost/.bundle/shop/dev"


FILES = f"{ROOT}/files"


MANIFEST = f"{ROOT}/graph-agent-manifest.json"


READING = [
    "GET /api/2.0/preview/scim/v2/Me",
    "GET /api/2.0/serving-endpoints/local-model",
    "GET /api/2.1/unity-catalog/tables/main.docs.project",
    "GET /api/2.0/mlflow/experiments/get",
    "GET /api/2.0/apps/shop-dev",
]


STEPS = ("start", "stop", "deployments", "update")


@dataclass
class Shop:
    """A project folder, the workspace that it is deployed to, and the deployed app."""

    folder: Path
    standing: StandIn
    apps: Apps
    app: DeployedApp
    environ: dict[str, str]
    said: list[str] = field(default_factory=list)
    rehearsed: list[dict[str, bytes]] = field(default_factory=list)

    def write(self, **files: str) -> None:
        """Change files and commit. In their names, `__` stands for `/`, and `_` for the dot before the extension."""
        for name, text in files.items():
            self.put(name.replace("__", "/").replace("_", "."), text)
        self.commit()

    def put(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def commit(self) -> None:
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "--message", "change")

    def deploy(self, **options: Any) -> int:
        """Deploy, and clear the record before. Everything is real except the rehearsal on this machine."""
        self.standing.forget()
        self.said.clear()
        waits = Waits(platform=1.5, ready=2, answer=5)

        def rehearse(files: Any, source: str, app: Any, *, seconds: float) -> float:
            self.rehearsed.append({path: one.content for path, one in files.items()})
            return 0.1

        return deploy(
            self.folder,
            **{"environ": self.environ, "say": self.said.append, "waits": waits, "rehearse": rehearse} | options,
        )

    def lines(self, *, writing: bool = False) -> list[str]:
        """Return the requests. `writing` leaves out those that only read."""
        return [one.line for one in self.standing.calls() if not writing or one.method != "GET"]

    def uploads(self) -> list[str]:
        """Return the paths of the uploads in order."""
        return [part(one.body, "path") for one in self.standing.calls("workspace/import")]

    def manifest(self) -> Any:
        return json.loads(self.apps.files[MANIFEST][0])

    def active(self) -> str:
        """Return the id of the running deployment."""
        return str(self.apps.apps["shop-dev"]["active_deployment"]["deployment_id"])


def git(folder: Path, *arguments: str) -> None:
    me = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *me, *arguments], cwd=folder, check=True, capture_output=True)


def part(body: bytes, name: str) -> str:
    return body.split(f'name="{name}"\r\n\r\n'.encode(), 1)[1].split(b"\r\n", 1)[0].decode()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    apps, app = Apps(), DeployedApp([ANSWERS])
    with stand_in(tmp_path / "workspace", more=apps.routes()) as standing, on_loopback(app) as url:
        apps.url = url
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        made = Shop(folder, standing, apps, app, {"BUNDLE_VAR_experiment": "123"})
        for path, text in {
            "databricks.yml": BUNDLE,
            "app.yaml": APP,
            "langgraph.json": '{"graphs": {"a": "./a.py:graph"}}',
            "a.py": "graph = None\n",
            "src/deep/b.py": "# Databricks notebook source\n",
            "notes/n.md": "not needed",
        }.items():
            made.put(path, text)
        made.commit()
        yield made


STARTS, STOPS, DEPLOYS, CHANGES = (f"POST /api/2.0/apps/shop-dev/{one}" for one in STEPS)


def steps(shop: Shop) -> list[str]:
    """Return the requests that change the app, in order."""
    return [line for line in shop.lines(writing=True) if "/api/2.0/apps" in line]


def refused(shop: Shop, kind: type[AgentError] = DeployRefused, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        shop.deploy(**options)
    assert shop.lines(writing=True) == []
    return caught.value.message


@pytest.fixture
def nobody(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The project of a person without an account."""
    for name in shop.standing.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return shop
