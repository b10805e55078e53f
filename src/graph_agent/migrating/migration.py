"""Puts a new project together from the checkout of a template."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from graph_agent.errors import ProjectNotRead
from graph_agent.migrating.agents_sdk import PACKAGE, take_agents_sdk
from graph_agent.migrating.bundle import take_bundle
from graph_agent.migrating.checkout import read_checkout
from graph_agent.migrating.environment import Variables, of_env_file
from graph_agent.migrating.eval_rows import PATH as ROWS
from graph_agent.migrating.eval_rows import take_eval_rows
from graph_agent.migrating.findings import NOTHING, Finding
from graph_agent.migrating.handlers import handlers_of
from graph_agent.migrating.langgraph_agent import take_langgraph
from graph_agent.migrating.sources import Module, Project, parsed
from graph_agent.migrating.writing import Written, is_installed
from graph_agent.printable import one_line
from graph_agent.redaction import redact

KNOWN = """\
agents that MLflow's agent server serves (functions with @invoke() or @stream()), as in the templates agent-langgraph, \
agent-langgraph-advanced and agent-openai-agents-sdk of databricks/app-templates"""

LONGEST_LINE = 10_000
"""Characters of a line of pyproject.toml."""

MOST_NAMED = 20
"""Files of a list that are named one by one."""

LANGGRAPH = ("langgraph", "langchain", "databricks_langchain")

SERVER_PACKAGES = (
    "fastapi", "uvicorn", "databricks-agents", "mlflow", "mlflow-skinny", "python-dotenv", "openai-agents",
    "opentelemetry-exporter-otlp-proto-grpc", "databricks-langchain", "databricks-openai", "databricks-ai-bridge",
    "databricks-sdk", "langgraph", "langchain", "langchain-core", "langchain-mcp-adapters", "openai", "mcp",
)  # fmt: skip
"""Packages of the templates that the service brings along, or that only their server needs."""

TEST = '''\
"""Asks the agent over HTTP, as a client does. A script replaces the model, so no model is needed."""

from pathlib import Path

import pytest

from graph_agent import Settings, create_app
from graph_agent.testing import FakeWorkspace, SyncAgentClient

PROJECT = Path(__file__).parents[1]


def test_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(config=PROJECT / "langgraph.json", model="databricks:scripted", tracing="off", store="memory")
    with FakeWorkspace("Hello.") as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        with SyncAgentClient(create_app(settings)) as client:
            answer = client.ask("hi")
    assert answer["status"] == "completed"
    assert answer["output"][-1]["content"][0]["text"] == "Hello."
'''


@dataclass(frozen=True, slots=True)
class Migration:
    """The files of the new project by path, and what became of the old one."""

    files: Mapping[str, str]
    taken: Sequence[Finding]
    left: Sequence[Finding]


def migrate(folder: Path, *, name: str, pinned: str, same: Mapping[str, str]) -> Migration:
    """Read the project in `folder` and return the new one. Nothing is written, imported or run.

    `pinned` is the requirement on this package's version, such as `==0.1.0`. `same` are files that every project has.

    Raises:
        ProjectNotRead: it is not a project of a known kind, or it is not clear what its agent is.
    """
    checkout = read_checkout(folder)
    left = list(checkout.left)
    modules = [one for path, text in checkout.python.items() if (one := parsed(path, text, left)) is not None]
    project = Project(modules)
    main = _main(folder, modules, left)
    agent = take_agents_sdk(project, main) if _is_agents_sdk(main, project) else take_langgraph(project, main)
    variables = Variables()
    deployment = take_bundle(checkout.configuration, name=name, endpoint=agent.endpoint, variables=variables)
    for path in (".env", ".env.example"):
        of_env_file(path, checkout.configuration.get(path, ""), variables)
    taken = [*agent.taken, *variables.taken, *deployment.taken]
    left += [*agent.left, *variables.left, *deployment.left]
    left += _data_files(checkout.others, main)
    left += _missing_packages(agent)
    rows = take_eval_rows(modules, taken, left)
    packages = list(_packages(checkout.configuration.get("pyproject.toml", ""), taken, left))
    left += _whole_files(modules, agent, taken, main)
    files = {path: _without_secrets(path, text, left) for path, text in agent.files.items()}
    files |= _project_files(name, pinned, agent, deployment.description, variables, packages)
    files |= {"databricks.yml": deployment.bundle, "app.yaml": deployment.app, "manifest.yaml": deployment.manifest}
    files |= same
    if rows:
        files[ROWS] = rows
    taken, left = sorted(set(taken)), sorted(set(left))
    files["MIGRATED.md"] = _report(one_line(folder.resolve().name), taken, left)
    return Migration(files, taken, left)


def _main(folder: Path, modules: Sequence[Module], unread: Sequence[Finding]) -> Module:
    """The module whose functions answer requests."""
    found = [one for one in modules if handlers_of(one)]
    if not found:
        for one in unread:
            if one.line:
                raise ProjectNotRead(f"{one_line(one.place)}: {one.what}; {one.do}", param=one.path)
        raise ProjectNotRead(f"{one_line(str(folder))} is no project that this command knows; it knows {KNOWN}")
    if len(found) > 1:
        places = ", ".join(one.path for one in found[:5])
        raise ProjectNotRead(
            f"{one_line(str(folder))} has more than one module that answers requests: {one_line(places)}; give --from"
            " the folder of one of them"
        )
    return found[0]


def _is_agents_sdk(main: Module, project: Project) -> bool:
    roots = {one.module.partition(".")[0] for module in project.modules.values() for one in module.imports()}
    own = {one.module.partition(".")[0] for one in main.imports()}
    if PACKAGE in own and project.local(PACKAGE) is None:
        return True
    if own.isdisjoint(LANGGRAPH) and roots.isdisjoint(LANGGRAPH):
        raise ProjectNotRead(
            f"{main.path} uses neither LangGraph nor the OpenAI Agents SDK; this command knows {KNOWN}", param=main.path
        )
    return False


def _whole_files(
    modules: Sequence[Module], agent: Written, taken: Sequence[Finding], main: Module
) -> Iterator[Finding]:
    """One line for each file of which nothing was taken over."""
    named = {one.path for one in [*taken, *agent.left]}
    folders: dict[str, list[str]] = {}
    for module in modules:
        if module.path in named or module is main or not module.tree.body:
            continue
        folder = module.path.rpartition("/")[0]
        if module.name.endswith("start_server"):
            yield Finding(module.path, 0, "the server: graph-agent serve takes its place", NOTHING)
        else:
            folders.setdefault(folder, []).append(module.path.rpartition("/")[2])
    for folder, names in folders.items():
        shown = ", ".join([*names[:MOST_NAMED], *([f"{len(names) - MOST_NAMED} more"] * (len(names) > MOST_NAMED))])
        what = f"Python {'file' if len(names) == 1 else 'files'} that the agent does not use: {shown}"
        do = "nothing, if they served the template's server or are its scripts: see scripts/names.py for those"
        yield Finding(f"{folder or '.'}/", 0, what, do)


def _data_files(paths: Sequence[str], main: Module) -> Iterator[Finding]:
    """Files beside the agent's code that it may read."""
    folder = main.path.rpartition("/")[0]
    beside = [path for path in paths if folder and path.startswith(f"{folder}/")]
    for path in beside[:MOST_NAMED]:
        yield Finding(path, 0, "a file beside the code", "copy it to graphs/ if the agent reads it")
    if len(beside) > MOST_NAMED:
        what = f"{len(beside) - MOST_NAMED} more files beside the code"
        yield Finding(f"{folder}/", 0, what, "copy to graphs/ those that the agent reads")


def _missing_packages(agent: Written) -> Iterator[Finding]:
    for name, (path, line) in agent.packages.items():
        if not is_installed(name):
            do = "install its package and add it to requirements.txt; give --from the folder above if it is yours"
            yield Finding(path, line, f"the module {name} is not installed here", do)


def _without_secrets(path: str, text: str, left: list[Finding]) -> str:
    clean = redact(text)
    if clean != text:
        pairs = zip(text.split("\n"), clean.split("\n"), strict=False)
        line = next((number for number, (old, new) in enumerate(pairs, start=1) if old != new), 0)
        do = "renew it, and read it from an environment variable that a secret resource of the app sets"
        left.append(Finding(path, line, "a secret in the code, which is replaced by a marker in the new file", do))
    return clean


def _packages(text: str, taken: list[Finding], left: list[Finding]) -> Iterator[str]:
    """Requirements of the template's project that are neither its server's nor graph-agent's own."""
    try:
        # A dotted key takes time quadratic in its length.
        if max(map(len, text.split("\n"))) > LONGEST_LINE:
            raise ValueError
        project = tomllib.loads(text).get("project")
    except (ValueError, RecursionError):
        left.append(
            Finding("pyproject.toml", 0, "not valid TOML", "add the packages of your agent to requirements.txt")
        )
        return
    listed = project.get("dependencies") if isinstance(project, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, str) or "\n" in one:
            continue
        name = one.strip()
        end = next((place for place, sign in enumerate(name) if not (sign.isalnum() or sign in "-_.")), len(name))
        if name[:end].lower().replace("_", "-") not in SERVER_PACKAGES:
            line = next((number for number, row in enumerate(text.split("\n"), start=1) if one in row), 0)
            taken.append(Finding("pyproject.toml", line, f"the package {name[:end]}, now in requirements.txt"))
            yield name


def _project_files(
    name: str, pinned: str, agent: Written, description: str, variables: Variables, packages: Sequence[str]
) -> Iterator[tuple[str, str]]:
    graph = {"path": f"./graphs/agent.py:{agent.variable}", "title": name}
    if description:
        graph["description"] = description[:2000]
    manifest = {"dependencies": ["."], "graphs": {"agent": graph}}
    yield "langgraph.json", json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    yield (
        "requirements.txt",
        "\n".join(
            [
                "# Databricks Apps installs these packages. Add the packages that your graphs import.",
                f"graph-agent{pinned}",
                *packages,
                "",
            ]
        ),
    )
    dependencies = json.dumps([f"graph-agent{pinned}", *packages], ensure_ascii=False)
    yield (
        "pyproject.toml",
        (
            f'[project]\nname = "{name}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
            f"dependencies = {dependencies}\n\n"
            f'[dependency-groups]\ndev = ["graph-agent[local]{pinned}", "pytest>=8"]\n\n'
            "[tool.uv]\n# `uv run` uses the environment as it is, and writes no lock.\nmanaged = false\n\n"
            '[tool.pytest.ini_options]\ntestpaths = ["tests"]\n'
        ),
    )
    yield "tests/test_agent.py", TEST
    yield (
        ".env.example",
        "\n".join(
            [
                "# Copy this file to .env and fill it in. It is read if you say so: uv run --env-file .env start-app",
                *(f"{'' if value else '# '}{one}={value}" for one, value in variables.local.items()),
                "",
            ]
        ),
    )
    yield (
        "README.md",
        (
            f"# {name}\n\nA LangGraph agent that graph-agent serves over the Responses API. MIGRATED.md says what was"
            " taken over\nfrom the old project, and what is left to do.\n\n"
            "```bash\ngraph-agent dev                  # with a local model\n"
            'graph-agent ask "hi"\npytest\ngraph-agent deploy --dry-run     # check everything; needs no account\n```\n'
        ),
    )


def _report(name: str, taken: Sequence[Finding], left: Sequence[Finding]) -> str:
    lines = ["# What became of the old project", "", f"It was in a folder named `{name}`.", "", "## Taken over", ""]
    lines += [f"- `{one_line(one.place)}`: {one_line(one.what)}" for one in taken]
    lines += ["", "## Not taken over, and what to do", ""]
    lines += [
        f"- `{one_line(one.place)}`: {one_line(one.what)}. To do: {one_line(one.do)}."
        for one in left
        if one.needs_something
    ]
    lines += ["", "## Not needed any more", ""]
    lines += [f"- `{one_line(one.place)}`: {one_line(one.what)}" for one in left if not one.needs_something]
    return "\n".join([*lines, ""])
