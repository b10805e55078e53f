"""`graph-agent log-model`: what is in the logged model, and that it answers in an environment of its own.

The locks are tested in that environment as well, because to install them again would take as long as all other tests.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.standin.server import ScriptedModel, StandIn, says, stand_in
from tests.standin.tracking import EXPERIMENT, MODEL, tracking

from graph_agent.commands.cli import main

ROOT = Path(__file__).parent.parent
PAUSE = 0.4
UV = str(Path(sys.executable).parent / "uv")

SERVICE = (
    "import databricks_langchain, mlflow, graph_agent.catalog.catalog, graph_agent.responses_agent, "
    "graph_agent.serving.app"
)
WORKSPACE = f"{SERVICE}, graph_agent.local.rest.workspace, graph_agent.local.preparation, xllamacpp, pip"

GRAPH = '''
"""One model call, with a name from a module beside it; documents are searched by a graph that is never asked."""
from langgraph.graph import START, MessagesState, StateGraph
from graph_agent import chat_model
from graph_agent.databricks.vector_search import DocumentSearch
from graph_agent.databricks.functions import uc_functions
from graph_agent.databricks.mcp import McpServer, McpTools
from beside import PROMPT

model = chat_model()
documents = DocumentSearch()
servers = McpTools([McpServer.genie("g1"), McpServer.external("github")])
sources = [uc_functions("main.tools.rate", warehouse="w1"), servers]


async def answer(state):
    if "fail" in state["messages"][-1].content:
        raise ValueError("postgres://user:hunter2@db")
    return {"messages": [await model.ainvoke([("system", PROMPT), *state["messages"]])]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
'''

TINY = """
from langgraph.graph import START, MessagesState, StateGraph

builder = StateGraph(MessagesState)
builder.add_node("answer", lambda state: {})
builder.add_edge(START, "answer")
graph = builder.compile()
"""

ASK = """
import json, sys, time
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
question = {"input": [{"role": "user", "content": "What colour is dark mode?"}]}
whole = model.predict(question)
began, events = time.monotonic(), []
for event in model.predict_stream(question):
    events.append([event["type"], event.get("delta"), time.monotonic() - began])
import graph_agent
print(json.dumps({"whole": whole, "events": events, "package": graph_agent.__file__}))
"""

SCORE = """
import json, sys
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
questions = ["What colour is dark mode?", None, "please fail", " "]
scored = model.predict(pandas.DataFrame({"question": questions}))
print(json.dumps(scored.to_dict("list")))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    model = ScriptedModel(lambda body: [says("It ")[0], PAUSE, *says("It ", "is "), PAUSE, *says("blue.")[1:]])
    with stand_in(tmp_path_factory.mktemp("workspace") / "standin", model=model) as standing:
        yield standing


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "graphs").mkdir()
    (folder / "graphs" / "colour.py").write_text(GRAPH)
    (folder / "graphs" / "beside.py").write_text('PROMPT = "Be brief."\n')
    (folder / "secrets.txt").write_text("hunter2")
    (folder / "langgraph.json").write_text(
        json.dumps({"dependencies": ["."], "graphs": {"colour": "./graphs/colour.py:graph"}})
    )
    return folder


@pytest.fixture(scope="module")
def environment(workspace: StandIn, project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'store.db'}",
        **workspace.environment(),
    }


def logged(project: Path, environment: dict[str, str], *flags: str, **settings: str) -> Path:
    """The folder of a model that the command has just logged."""
    command = [sys.executable, "-m", "graph_agent", "log-model", "--config", str(project / "langgraph.json"), *flags]
    cwd = Path(environment["HOME"])
    done = subprocess.run(command, env=environment | settings, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return newest_model(cwd)


def logged_here(
    project: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], *flags: str, **settings: str
) -> Path:
    """As `logged`, within this process."""
    for name, value in (environment | settings).items():
        monkeypatch.setenv(name, value)
    home = Path(environment["HOME"])
    monkeypatch.chdir(home)
    assert main(["log-model", "--config", str(project / "langgraph.json"), *flags]) == 0
    return newest_model(home)


def newest_model(home: Path) -> Path:
    return max(home.glob("mlruns/*/models/*/artifacts"), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="module")
def agent_model(project: Path, environment: dict[str, str], workspace: StandIn) -> Path:
    workspace.forget()
    used = ["--function", "main.tools.extra", "--lakebase", "memory"]
    settings = {"GRAPH_AGENT_VERSION": "main@3f2c1ab9-dirty", "GRAPH_AGENT_MAX_STEPS": "30"}
    return logged(project, environment, *used, GRAPH_AGENT_BEARER_TOKEN="s3cret", **settings)


def described(model: Path) -> Any:
    return yaml.safe_load((model / "MLmodel").read_text())


def test_a_logged_agent_names_its_task_its_resources_and_its_settings(agent_model: Path) -> None:
    found = described(agent_model)
    assert found["metadata"]["task"] == "agent/v1/responses"
    assert found["resources"]["databricks"] == {
        "serving_endpoint": [{"name": "local-minilm"}, {"name": "local-model"}],
        "vector_search_index": [{"name": "main.docs.project"}],
        "function": [{"name": "main.tools.extra"}, {"name": "main.tools.rate"}],
        "sql_warehouse": [{"name": "w1"}],
        "genie_space": [{"name": "g1"}],
        "uc_connection": [{"name": "github"}],
        "lakebase": [{"name": "memory"}],
    }
    assert found["flavors"]["python_function"]["config"]["settings"] == {"GRAPH_AGENT_MAX_STEPS": "30"}
    assert found["flavors"]["python_function"]["streamable"] is True


def test_a_logged_agent_holds_the_project_s_code_and_pins_and_nothing_else_of_its_folder(agent_model: Path) -> None:
    project = agent_model / "code" / "agent_project"
    assert sorted(str(one.relative_to(project)) for one in project.rglob("*") if one.is_file()) == [
        "graphs/beside.py",
        "graphs/colour.py",
        "langgraph.json",
    ]
    pins = (agent_model / "requirements.txt").read_text().split()
    assert any(pin.startswith("langgraph==") for pin in pins)
    assert all("==" in pin for pin in pins)
    everything = b"".join(one.read_bytes() for one in agent_model.rglob("*") if one.is_file())
    assert b"s3cret" not in everything


@pytest.mark.usefixtures("agent_model")
def test_logging_calls_no_model(workspace: StandIn) -> None:
    assert {one.line for one in workspace.calls()} == {"GET /api/2.0/vector-search/indexes/main.docs.project"}


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the locked dependencies, and without this project; takes a quarter of a minute."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    python = folder / "bin" / "python"
    install(python, "requirements.txt")
    take_bytecode(Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("purelib", vars={"base": str(folder)})))
    return python


def take_bytecode(own: Path, other: Path) -> None:
    """Copy this environment's bytecode files to another one, whose imports would compile thousands of modules again.

    Python itself looks whether the source has the same time and size, and compiles it otherwise.
    """
    for compiled in own.rglob("__pycache__/*.pyc"):
        beside = other / compiled.relative_to(own)
        # What a wheel brings along may be one file with that of uv's cache.
        if beside.parent.parent.is_dir() and not beside.exists():
            beside.parent.mkdir(exist_ok=True)
            shutil.copyfile(compiled, beside)


def install(python: Path, lock: str) -> None:
    """In hash mode and without the project itself, as Databricks Apps installs it."""
    command = [UV, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(ROOT / lock)]
    subprocess.run(command, check=True)


def told(python: Path, script: str, model: Path, environment: dict[str, str]) -> Any:
    done = subprocess.run(
        [python, "-c", script, model], env=environment, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_logged_agent_answers_and_streams_in_a_clean_environment(
    agent_model: Path, clean_python: Path, environment: dict[str, str]
) -> None:
    said = told(clean_python, ASK, agent_model, environment)
    assert Path(said["package"]).is_relative_to(agent_model)
    assert said["whole"]["status"] == "completed"
    assert said["whole"]["output"][-1]["content"][0]["text"] == "It is blue."
    deltas = [(delta, at) for kind, delta, at in said["events"] if kind == "response.output_text.delta"]
    assert "".join(delta for delta, _ in deltas) == "It is blue."
    assert deltas[-1][1] - deltas[0][1] > PAUSE / 2
    assert said["events"][-1][0] == "response.completed"


@pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning")
def test_a_table_is_scored_row_by_row_and_a_bad_row_fails_alone(
    project: Path, clean_python: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = logged_here(project, monkeypatch, environment, "--table", GRAPH_AGENT_TRACING="off")
    scored = told(clean_python, SCORE, model, environment)
    assert scored == {
        "answer": ["It is blue.", "", "", ""],
        "status": ["completed", "failed", "failed", "failed"],
        "error": ["", "no_question", "graph_failed", "no_question"],
    }


def test_what_the_locks_install_imports(clean_python: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    subprocess.run([clean_python, "-W", "ignore", "-c", SERVICE], check=True, env=environment, cwd=tmp_path)
    # This lock has every pin of the other one, which `test_locks.py` tests. So it adds to what is installed.
    install(clean_python, "requirements-local.txt")
    subprocess.run([clean_python, "-W", "ignore", "-c", WORKSPACE], check=True, env=environment, cwd=tmp_path)


def test_an_agent_that_acts_for_its_users_declares_the_scopes_of_their_tokens(
    project: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = described(logged_here(project, monkeypatch, environment, GRAPH_AGENT_AUTHORIZATION="user"))
    policy = found["auth_policy"]
    assert policy["user_auth_policy"]["api_scopes"] == [
        "catalog.connections",
        "dashboards.genie",
        "mcp.external",
        "mcp.genie",
        "serving.serving-endpoints",
        "sql",
        "vectorsearch.vector-search-indexes",
    ]
    assert {"name": "local-model"} in policy["system_auth_policy"]["resources"]["databricks"]["serving_endpoint"]


def test_a_model_is_logged_to_a_workspace_as_the_service_principal(
    project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with tracking() as tracked, stand_in(tmp_path / "workspace", more=tracked.routes()) as standing:
        settings = {"MLFLOW_TRACKING_URI": "databricks", "MLFLOW_EXPERIMENT_ID": EXPERIMENT, **standing.environment()}
        command = [sys.executable, "-m", "graph_agent", "log-model", "--config", str(project / "langgraph.json")]
        given = environment | settings | {"GRAPH_AGENT_VERSION": "main@3f2c1ab9-dirty"}
        done = subprocess.run(command, env=given, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert f"logged models:/{MODEL}" in done.stdout, done.stderr
    assert tracked.model["info"]["status"] == "LOGGED_MODEL_READY"
    tags = {tag["key"]: tag["value"] for tag in tracked.model["info"]["tags"]}
    assert (tags["version"], tags["mlflow.source.git.commit"]) == ("main@3f2c1ab9-dirty", "3f2c1ab9")
    names = {path.partition("/artifacts/")[2] for path in tracked.files}
    assert {"MLmodel", "requirements.txt", "code/agent_project/langgraph.json"} <= names
    tokens = {one.token for one in standing.calls("/(mlflow|fs)/")}
    assert tokens
    assert standing.credentials.token not in tokens


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--register"], "--register needs a name with three parts: --name catalog.schema.model"),
        (["--code", "/etc/hostname"], "hostname is outside the folder of langgraph.json"),
        (["--code", "{project}/large.bin"], "over 10 MB: large.bin"),
    ],
)
def test_what_cannot_be_logged_is_refused_with_what_to_change(
    flags: Sequence[str], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (project / "large.bin").open("wb") as large:
        large.truncate(11_000_000)
    given = [flag.format(project=project) for flag in flags]
    assert main(["log-model", "--config", str(project / "langgraph.json"), *given]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("leads_to", ["a file", "a folder"])
def test_a_link_that_leads_out_of_the_project_is_refused(
    leads_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "notes.txt").write_text("from outside of the project")
    project = tmp_path / "project"
    (project / "graphs").mkdir(parents=True)
    (project / "graphs" / "tiny.py").write_text(TINY)
    (project / "langgraph.json").write_text('{"graphs": {"tiny": "./graphs/tiny.py:graph"}}')
    target = tmp_path / "elsewhere" / ("notes.txt" if leads_to == "a file" else "")
    (project / "graphs" / "link").symlink_to(target)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(project)
    assert main(["log-model", "--config", "langgraph.json"]) == 2
    assert "these links point out of the folder of langgraph.json: graphs/link" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("graphs/service-account.json", "{}"),
        ("graphs/deep/key.pem", "x"),
        ("graphs/beside.py", "TOKEN = 'dapi" + "0" * 32 + "'"),
        ("graphs/.env", None),
    ],
)
def test_a_folder_with_what_looks_like_a_secret_is_refused_by_the_file_s_name(
    path: str, text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graphs" / "deep").mkdir(parents=True)
    (tmp_path / "graphs" / "tiny.py").write_text(TINY)
    (tmp_path / "langgraph.json").write_text('{"graphs": {"tiny": "./graphs/tiny.py:graph"}}')
    # A hidden file is not taken along, and no reason to refuse.
    (tmp_path / path).write_text(text or "A=1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.chdir(tmp_path)
    status = main(["log-model", "--config", "langgraph.json"])
    said = capsys.readouterr().err
    assert status == (2 if text else 0), said
    assert (f"these look like secrets and are not logged with a model: {path} (" in said) == bool(text)
    assert "dapi0" not in said
    taken = [one for one in tmp_path.glob("mlruns/**/*") if one.name == Path(path).name]
    assert not taken
