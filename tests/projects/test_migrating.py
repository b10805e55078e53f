"""`graph-agent init --from`: what it takes over of a template's checkout, and what it refuses."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph_agent import Settings, create_app
from graph_agent.commands.cli import main
from graph_agent.deploying.app_file import read_app_file
from graph_agent.deploying.bundle import read_bundle
from graph_agent.evaluating.row_reader import read_rows
from graph_agent.testing import Call, FakeWorkspace, SyncAgentClient

SERVER = """
import mlflow
from mlflow.genai.agent_server import invoke, stream
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse

from shop_server.converting import as_events

mlflow.langchain.autolog()
"""

LANGGRAPH = {
    "shop_server/serving.py": SERVER
    + '''
import os
from databricks_langchain import ChatDatabricks
from langchain.agents import create_agent
from langchain_core.tools import tool

from shop_server.words import PROMPT as SYSTEM
from shop_server.notes import note_tools

LLM = "shop-llm"
open(os.environ["MIGRATION_RAN"], "w")


@tool
def stock(item: str) -> str:
    """How many of an item there are."""
    return f"{STOCK.get(item, 0)} of {item}"


# What is in the shop.
STOCK = {}
STOCK["lamp"] = 3


async def make_agent(store, client=None, checkpointer=None):
    # The tools of this agent.
    tools = [stock, *note_tools()]
    model = ChatDatabricks(
        endpoint=LLM,
        temperature=0,
    )
    return create_agent(model=model, tools=tools, system_prompt=SYSTEM, checkpointer=checkpointer, store=store)


@invoke()
async def answer(request: ResponsesAgentRequest) -> ResponsesAgentResponse:
    return ResponsesAgentResponse(output=[event.item async for event in answer_stream(request)])


@stream()
async def answer_stream(request):
    agent = await make_agent(store=None)
    state = {"messages": request.input, "custom_inputs": {}}
    async for event in as_events(agent.astream(state, {"configurable": {"user_id": "?"}})):
        yield event
''',
    "shop_server/words.py": 'PROMPT = "You keep a shop."\n',
    "shop_server/notes.py": '''
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool


def note_tools():
    @tool
    async def note(text: str, config: RunnableConfig) -> str:
        """Note something about the user."""
        user = config.get("configurable", {}).get("user_id")
        store = config["configurable"]["store"]
        await store.aput(("notes", user), "note", {"text": text})
        return f"noted for {user}"

    return [note]
''',
    "shop_server/converting.py": "import fastapi\n\n\ndef as_events(events): ...\n",
    "shop_server/start_server.py": "import shop_server.serving\n",
    "shop_server/asking.py": """
cases = [
    {"goal": "Find out whether there are lamps", "persona": "In a hurry."},
    {"inputs": {"question": "Any lamps?"}, "expectations": {"expected_facts": ["3"]}},
]
""",
    "databricks.yml": """
bundle: {name: shop}
resources:
  apps:
    shop:
      name: shop-agent
      description: Keeps a shop
      source_code_path: ./
      config:
        command: [uv, run, start-app]
        env:
          - {name: MLFLOW_EXPERIMENT_ID, value_from: experiment}
          - {name: LAKEBASE_AUTOSCALING_ENDPOINT, value_from: postgres}
          - {name: CHAT_APP_PORT, value: "3000"}
          - {name: SHOP_REGION, value: north}
          - {name: SHOP_API_KEY, value: key-of-the-shop-1234}
      resources:
        - {name: experiment, experiment: {experiment_id: "", permission: CAN_EDIT}}
        - {name: postgres, postgres: {branch: <branch>, database: <db>, permission: CAN_CONNECT_AND_CREATE}}
targets:
  dev: {mode: development, default: true}
  prod: {mode: production, resources: {apps: {shop: {name: shop-agent, config: {command: [x]}}}}}
""",
    ".env": """\
DATABRICKS_CONFIG_PROFILE=shop
DATABRICKS_TOKEN=dapi0123456789abcdef0123456789abcdef
SHOP_LOGIN=hunter2hunter2
""",
    "pyproject.toml": '[project]\nname = "x"\ndependencies = ["fastapi>=0.1", "barcodes>=2"]\n',
}

AGENTS_SDK = {
    "shop_server/serving.py": SERVER
    + '''
from agents import Agent, ModelSettings, Runner, WebSearchTool, function_tool
from shop_server.tools import prices

RULES = "You sell lamps."


@function_tool(name_override="stock")
def count_stock(item: str) -> str:
    """How many of an item there are."""
    return f"3 of {item}"


def build(servers=None) -> Agent:
    return Agent(
        name="Shop",
        instructions=RULES,
        model="shop-llm",
        model_settings=ModelSettings(temperature=0),
        tools=[count_stock, prices, WebSearchTool()],
        output_guardrails=[],
        mcp_servers=servers or [],
    )


@invoke()
async def answer(request: ResponsesAgentRequest) -> ResponsesAgentResponse:
    agent = build()
    result = await Runner.run(agent, request.input)
    return ResponsesAgentResponse(output=result.new_items)
''',
    "shop_server/tools.py": """
from agents import function_tool


@function_tool
def prices(item: str) -> str:
    return f"{item}: 5 euros"
""",
}

WITH_SERVERS = """

async def connect():
    from databricks_openai.agents import McpServer as Unused
    return McpServer(url=f"{HOST}/api/2.0/mcp/functions/main/tools", name="tools")


@stream()
async def answer_stream(request):
    result = Runner.run_streamed(build([await connect()]), request.input)
"""


def checkout(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def place(files: dict[str, str], path: str, text: str) -> str:
    [line] = [number for number, line in enumerate(files[path].split("\n"), start=1) if text in line]
    return f"{path}:{line}"


def migrated(tmp_path: Path, files: dict[str, str]) -> Path:
    assert main(["init", str(tmp_path / "new"), "--from", str(checkout(tmp_path / "old", files))]) == 0
    return tmp_path / "new"


@contextmanager
def served(project: Path, monkeypatch: pytest.MonkeyPatch, *replies: Any) -> Iterator[Any]:
    settings = Settings(config=project / "langgraph.json", model="databricks:shop-llm", tracing="off", store="memory")
    with FakeWorkspace(*replies) as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        with SyncAgentClient(create_app(settings)) as client:
            yield client, workspace


def test_a_langgraph_template_answers_with_its_tools_and_its_memory_belongs_to_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_RAN", str(tmp_path / "ran"))
    project = migrated(tmp_path, LANGGRAPH)
    assert not (tmp_path / "ran").exists(), "the checkout's code is never run"
    calls = [Call("stock", {"item": "lamp"}), Call("note", {"text": "likes lamps"})]
    with served(project, monkeypatch, *calls, "There are three.") as (client, workspace):
        answer = client.ask({"input": "Any lamps?", "custom_inputs": {"user_id": "somebody else"}})
        assert [one["output"] for one in answer["output"] if one["type"] == "function_call_output"] == [
            "3 of lamp",
            "noted for local",
        ]
        assert answer["output"][-1]["content"][0]["text"] == "There are three."
        assert workspace.chats[0]["messages"][0] == {"role": "system", "content": "You keep a shop."}
        assert workspace.chats[0]["temperature"] == 0
    code = (project / "graphs/agent.py").read_text()
    assert "# The tools of this agent." in code
    assert "# What is in the shop." in code
    for glue in ("mlflow", "invoke", "autolog", "MIGRATION_RAN", "shop_server"):
        assert glue not in code


def test_an_agent_of_the_agents_sdk_answers_with_its_instructions_and_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = migrated(tmp_path, AGENTS_SDK)
    told = capsys.readouterr().out
    calls = [Call("stock", {"item": "lamp"}), Call("prices", {"item": "lamp"})]
    with served(project, monkeypatch, *calls, "Three, for 5 euros.") as (client, workspace):
        answer = client.ask("Any lamps?")
        outputs = [one["output"] for one in answer["output"] if one["type"] == "function_call_output"]
        assert outputs == ["3 of lamp", "lamp: 5 euros"]
        assert workspace.chats[0]["messages"][0] == {"role": "system", "content": "You sell lamps."}
        assert workspace.chats[0]["temperature"] == 0
    assert f"{place(AGENTS_SDK, 'shop_server/serving.py', 'WebSearchTool()]')}: the tool WebSearchTool()" in told
    assert f"{place(AGENTS_SDK, 'shop_server/serving.py', 'output_guardrails')}: output_guardrails of the agent" in told
    assert "the tool prices has no docstring" in told


SPREAD = {
    "shop_server/serving.py": SERVER
    + """
from langchain.agents import create_agent
from databricks_langchain import ChatDatabricks
from shop_server import words
from . import pricing as prices
import shop_server.openai as shop_openai


def make_agent():
    from shop_server.stocks import (
        stock,
    )
    assert shop_openai.NAME == "shop"
    prompt = words.PROMPT
    return create_agent(ChatDatabricks(endpoint="shop-llm"), [stock, prices.price], system_prompt=prompt)


agent = make_agent()
agent.name = "Shop"


@stream()
async def answer_stream(request):
    async for part in agent.astream({"messages": request.input}):
        yield part
""",
    "shop_server/__init__.py": "",
    "shop_server/words.py": 'PROMPT = "You keep a shop."\n',
    "shop_server/openai.py": 'NAME = "shop"\n',
    "shop_server/data.csv": "lamp,3\n",
    "shop_server/pricing.py": """
from langchain_core.tools import tool


@tool
def price(item: str) -> str:
    \"\"\"What an item costs.\"\"\"
    return "5 euros"
""",
    "shop_server/stocks.py": """
from langchain_core.tools import tool


@tool
def stock(item: str) -> str:
    \"\"\"How many of an item there are.\"\"\"
    return f"3 of {item}"
""",
}


def test_code_of_several_modules_finds_its_parts_wherever_it_imports_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = migrated(tmp_path, SPREAD)
    told = capsys.readouterr().out
    calls = [Call("stock", {"item": "lamp"}), Call("price", {"item": "lamp"})]
    with served(project, monkeypatch, *calls, "Three, for 5 euros.") as (client, workspace):
        answer = client.ask("Any lamps?")
        outputs = [one["output"] for one in answer["output"] if one["type"] == "function_call_output"]
        assert outputs == ["3 of lamp", "5 euros"]
        assert workspace.chats[0]["messages"][0]["content"] == "You keep a shop."
    # A file of that name would hide the package openai.
    assert not (project / "graphs/openai.py").exists()
    assert "  shop_server/data.csv: a file beside the code\n" in told


def test_a_module_that_is_not_installed_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = LANGGRAPH["shop_server/notes.py"].replace(
        "from langchain_core.tools", "import no_such\nfrom langchain_core.tools"
    )
    code = code.replace('return f"noted', 'no_such.call()\n        return f"noted')
    migrated(tmp_path, LANGGRAPH | {"shop_server/notes.py": code})
    assert "the module no_such is not installed here" in capsys.readouterr().out


def test_mcp_servers_that_the_handlers_connect_to_become_tool_sources(tmp_path: Path) -> None:
    serving = AGENTS_SDK["shop_server/serving.py"] + WITH_SERVERS
    serving = serving.replace("from agents", "from databricks_openai.agents import McpServer\nfrom agents", 1)
    files = AGENTS_SDK | {"shop_server/serving.py": serving}
    code = (migrated(tmp_path, files) / "graphs/agent.py").read_text()
    assert 'tools = [count_stock, prices, McpTools([McpServer.functions("main.tools")])]' in code
    compile(code, "agent.py", "exec")


def test_the_bundle_keeps_the_app_its_resources_and_its_variables(tmp_path: Path) -> None:
    project = migrated(tmp_path, LANGGRAPH)
    values = {f"BUNDLE_VAR_{name}": "1" for name in ("experiment_id", "lakebase_branch", "lakebase_database")}
    for target in ("dev", "prod"):
        bundle = read_bundle(project / "databricks.yml", target=target, user="me@localhost", environ=values)
        app = read_app_file(project, bundle)
        assert bundle.app == "shop-agent"
        assert list(bundle.resources) == ["model", "experiment", "postgres"]
        assert app.environment["GRAPH_AGENT_MODEL"] == "shop-llm"
        assert app.environment["SHOP_REGION"] == "north"
        assert app.hidden == ("GRAPH_AGENT_STORE",)
        assert app.command == ("python", "-m", "graph_agent", "serve")
        assert not {"CHAT_APP_PORT", "SHOP_API_KEY"} & set(app.environment)
    assert "barcodes>=2" in (project / "requirements.txt").read_text()
    assert "fastapi" not in (project / "requirements.txt").read_text()
    assert yaml.safe_load((project / "databricks.yml").read_text())["bundle"]["name"] == "shop"


def test_no_value_of_a_secret_is_copied_or_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = dict(LANGGRAPH)
    token = "dapi" + "89abcdef" * 4
    files["shop_server/words.py"] = f'PROMPT = "You keep a shop."\nTOKEN = "{token}"\nPROMPT += TOKEN\n'
    project = migrated(tmp_path, files)
    told = capsys.readouterr().out
    everything = told + "".join(one.read_text() for one in project.rglob("*") if one.is_file())
    for secret in (token, "dapi0123456789abcdef0123456789abcdef", "hunter2hunter2", "key-of-the-shop-1234"):
        assert secret not in everything
    assert "DATABRICKS_CONFIG_PROFILE=shop" in (project / ".env.example").read_text()
    assert "# SHOP_LOGIN=\n" in (project / ".env.example").read_text()
    assert "SHOP_API_KEY has a secret value" in told
    assert "a secret in the code" in told


def test_test_cases_become_rows_of_a_dataset(tmp_path: Path) -> None:
    rows = read_rows(migrated(tmp_path, LANGGRAPH) / "evals/datasets/agent.jsonl")
    assert [row.question for row in rows] == ["Find out whether there are lamps", "Any lamps?"]
    assert rows[1].expectations.facts == (("3",),)


def test_both_lists_name_the_place_and_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = migrated(tmp_path, LANGGRAPH)
    told = capsys.readouterr().out
    taken, left = told.split("not taken over, and what to do:")
    serving, bundle = "shop_server/serving.py", "databricks.yml"
    making = f"{place(LANGGRAPH, serving, 'def make_agent')}: make_agent, now in graphs/agent.py\n"
    assert f"  {making}" in taken
    assert f"  {place(LANGGRAPH, bundle, 'SHOP_REGION')}: SHOP_REGION, now in app.yaml\n" in taken
    answering = place(LANGGRAPH, serving, "def answer_stream")
    assert f"  {answering}: answer_stream: the service answers requests itself\n      nothing, if" in left
    assert f"  {place(LANGGRAPH, serving, 'state = ')}: custom_inputs in the graph's input" in left
    assert making.replace(": ", "`: ", 1) in (project / "MIGRATED.md").read_text()


def test_files_that_the_agent_does_not_use_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migrated(tmp_path, LANGGRAPH | {"tries/one.py": "x = 1\n", "tries/two.py": "x = 2\n"})
    left = capsys.readouterr().out.split("not taken over")[1]
    assert "tries/: Python files that the agent does not use: one.py, two.py" in left


def test_links_are_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = checkout(tmp_path / "outside", {"words.py": 'PROMPT = "from outside"\n', "more/deep.py": "x = 1\n"})
    old = checkout(tmp_path / "old", {path: text for path, text in LANGGRAPH.items() if "words" not in path})
    (old / "shop_server/words.py").symlink_to(outside / "words.py")
    (old / "more").symlink_to(outside / "more")
    os.mkfifo(old / "pipe.py")
    assert main(["init", str(tmp_path / "new"), "--from", str(old)]) == 0
    assert "shop_server/words.py: a link, which is not followed" in capsys.readouterr().out
    assert not [one for one in (tmp_path / "new").rglob("*.py") if "from outside" in one.read_text()]


NO_GRAPH = (
    SERVER
    + """
from langgraph.graph import StateGraph

@invoke()
async def answer(request):
    builder = StateGraph(dict)
    graph = builder.compile()
    return await graph.ainvoke(request)
"""
)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "is no project that this command knows; it knows agents that MLflow's agent server serves"),
        ({"app.py": "import fastapi\n"}, "agent-langgraph, agent-langgraph-advanced and agent-openai-agents-sdk"),
        ({"one.py": SERVER + "@invoke()\ndef f(r): ..."}, "one.py uses neither LangGraph nor the OpenAI Agents SDK"),
        ({"a.py": NO_GRAPH + "def ("}, "a.py:17: not valid Python; correct it, and run the command again"),
        ({"a.py": NO_GRAPH}, "a.py:13: cannot see where the graph is made"),
        ({"a.py": NO_GRAPH, "b.py": NO_GRAPH}, "has more than one module that answers requests: a.py, b.py"),
        (LANGGRAPH | {"databricks.yml": "a: [1"}, "databricks.yml is not valid YAML"),
        (LANGGRAPH | {"databricks.yml": "a: &a [1]\nb: [*a, *a]\n"}, "databricks.yml has aliases (*name)"),
        (LANGGRAPH | {"databricks.yml": f"a: {'[' * 100_000}"}, "databricks.yml is not valid YAML"),
        (LANGGRAPH | {"databricks.yml": f"a: [0x{'f' * 9_000}]"}, "databricks.yml has a number of more than"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], told: str
) -> None:
    (tmp_path / "old").mkdir()
    checkout(tmp_path / "old", files)
    assert main(["init", str(tmp_path / "new"), "--from", str(tmp_path / "old")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text", ["def (", "x = " + "(" * 5000, "x = '\x00'", "x=1\n" * 3000, "#" * 600_000])
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    migrated(tmp_path, LANGGRAPH | {"scripts/odd.py": text})
    assert "scripts/odd.py" in capsys.readouterr().out.split("not taken over")[1]


CASES = """
CASES = [
    {"inputs": {"question": "Who?"}, "expectations": {"expected_facts": 5, "guidelines": "x"}},
    {"inputs": {"input": [{"content": {1, 2}}]}},
    {"inputs": {"input": [{"content": b"x"}]}},
    {"inputs": {"input": [{(1, 2): "x"}]}},
]
"""


def test_test_cases_that_are_no_json_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = migrated(tmp_path, LANGGRAPH | {"agent_server/odd.py": CASES})
    assert "Who?" in (new / "evals/datasets/agent.jsonl").read_text()
    assert capsys.readouterr().out.count("a test case of another form") == 3


@pytest.mark.parametrize("text", [f"a = {'9' * 5_000}", f"{'a.' * 60_000}a = 1"])
def test_a_hostile_pyproject_is_named_and_the_rest_is_taken_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    migrated(tmp_path, LANGGRAPH | {"pyproject.toml": text})
    assert "pyproject.toml: not valid TOML" in capsys.readouterr().out


def test_a_target_folder_with_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkout(tmp_path / "new", {"notes.txt": "mine"})
    assert main(["init", str(tmp_path / "new"), "--from", str(checkout(tmp_path / "old", LANGGRAPH))]) == 2
    assert "is not empty: it has notes.txt" in capsys.readouterr().err


def test_the_list_of_graphs_has_the_apps_description(tmp_path: Path) -> None:
    listed = json.loads((migrated(tmp_path, LANGGRAPH) / "langgraph.json").read_text())["graphs"]
    assert listed["agent"]["description"] == "Keeps a shop"
