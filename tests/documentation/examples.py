"""Runs the examples of a page that is no tutorial: its Python against a scripted service, its requests against the same
service, and the flags of its commands through the real parsers. Such a page need not be whole: names that a fragment
uses, and ids that a request names, are made here."""

import argparse
import ast
import importlib
import json
import re
import runpy
import shlex
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx
import yaml
from databricks_openai import DatabricksOpenAI
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from openai import OpenAI
from standardwebhooks import Webhook
from tests.documentation.blocks import Block, Command, commands
from tests.documentation.following import ROOT, WrongPage

from graph_agent.answer_form import current_answer_form, takes_answer_form
from graph_agent.client_tools import takes_client_tools
from graph_agent.commands import cli
from graph_agent.settings import Settings

SHOWN_HOSTS = ("http://127.0.0.1:8000", "http://localhost:8000")
"""Where the pages say that the service is."""

WORKSPACE = "https://workspace.example.com"

VARIABLES = {
    "AGENT": SHOWN_HOSTS[0],
    "APP_URL": SHOWN_HOSTS[0],
    "DATABRICKS_CLIENT_ID": "an-id",
    "DATABRICKS_CLIENT_SECRET": "a-secret",
    "DATABRICKS_HOST": WORKSPACE,
    "GRAPH_AGENT_BEARER_TOKEN": "a-token",
    "TOKEN": "a-token",
}
"""What a page takes for granted. Others must be set in it."""

OTHERS = frozenset(
    [
        ".",
        "cat",
        "cd",
        "codex",
        "databricks",
        "git",
        "jq",
        "ls",
        "npm",
        "npx",
        "open-webui",
        "pg_dump",
        "pg_restore",
        "pip",
        "pytest",
        "sqlite3",
        "unset",
    ]
)
"""Programs of others, whose commands are not run and not checked."""

NOT_IN_SETTINGS = frozenset({"GRAPH_AGENT_PORT"})

READERS: Mapping[str, Callable[[str], object]] = {
    "python": ast.parse,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
PLAIN = frozenset({"", "markdown", "text", "mermaid", "rooms", "json", "bash", "sh", "console"})


TEMPLATE = ROOT / "src" / "graph_agent" / "project_template"
"""What a project has that `graph-agent init` makes."""


# The service


def echo(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("Hello." if current_answer_form() is None else '{"name": "Rome"}')]}


def ask(state: MessagesState) -> dict[str, Any]:
    interrupt("Send it?")
    return {"messages": [AIMessage("Sent.")]}


def graph_of(node: Callable[[MessagesState], dict[str, Any]]) -> Any:
    return StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()


def graphs() -> dict[str, Any]:
    """The graphs of the service. `assistant` takes tools and forms of its client, and `mail` asks a person."""
    return {"assistant": graph_of(takes_answer_form(takes_client_tools(echo))), "mail": graph_of(ask)}


# Any block


def check_form(block: Block) -> None:
    """Check the language, that the text can be read, and that it names only settings that there are.

    Raises:
        WrongPage: something is wrong. The message has the place.
    """
    reader = READERS.get(block.language)
    if reader is None and block.language not in PLAIN:
        raise WrongPage(f"{block.place}: blocks of {block.language} are not known")
    try:
        if reader is not None:
            reader(textwrap.dedent(block.text))
        elif block.language == "json":
            _read_json(block)
    except (SyntaxError, ValueError, yaml.YAMLError) as error:
        raise WrongPage(f"{block.place}: this is not {block.language}: {error}") from error
    known = {f"GRAPH_AGENT_{one.name.upper()}" for one in fields(Settings)} | NOT_IN_SETTINGS
    if unknown := set(re.findall(r"\bGRAPH_AGENT_[A-Z_]+[A-Z]\b", block.text)) - known:
        raise WrongPage(f"{block.place}: there is no setting {', '.join(sorted(unknown))}")


def _read_json(block: Block) -> None:
    """Excerpts have `…` for what is left out, or show several values one after another."""
    text = re.sub(r",\s*…|…\s*,|…", "", block.text).strip()
    decoder = json.JSONDecoder()
    while text:
        _, end = decoder.raw_decode(text)
        text = text[end:].lstrip(" \n,")


# Python


class AnyBuilder(StateGraph[Any]):
    """A graph under construction whose nodes may be added again, for pages that show two ways."""

    def add_node(self, node: Any, action: Any = None, **options: Any) -> Any:
        self.nodes.pop(node if isinstance(node, str) else node.__name__, None)
        return super().add_node(node, action, **options)


class MyRetriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, **options: Any) -> list[Document]:
        return []


def _signed_message() -> dict[str, Any]:
    secret, body = (
        "whsec_" + "c2VjcmV0IG9mIHRoZSBwYWdl",
        json.dumps(
            {"id": "evt_1", "object": "event", "type": "response.completed", "created_at": 1, "data": {"id": "resp_1"}}
        ),
    )
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", now, body),
    }
    return {"secret": secret, "body": body, "headers": headers, "read": lambda response: None}


class Workspace:
    """As much of a `WorkspaceClient` as finding an app by its name takes."""

    def __init__(self, url: str) -> None:
        self.config = SimpleNamespace(
            host=url, authenticate=lambda: {"Authorization": "Bearer none"}, oauth_token=lambda: "none"
        )
        self.apps = SimpleNamespace(get=lambda name: SimpleNamespace(url=url))


def names_for_fragments(url: str) -> dict[str, Any]:
    """What fragments use and do not make."""
    import fastapi
    from agents import HostedMCPTool
    from langchain_core.tools import tool
    from langgraph.graph import END

    import graph_agent

    @tool
    def send_mail(to: str) -> str:
        """Send a mail."""
        return f"sent to {to}"

    def my_lifespan(app: Any) -> Any:
        raise AssertionError("not started")

    given = {name: getattr(graph_agent, name) for name in graph_agent.__all__}
    return given | {
        "END": END,
        "START": START,
        "FastAPI": fastapi.FastAPI,
        "HostedMCPTool": HostedMCPTool,
        "MyRetriever": MyRetriever,
        "PROMPT": "Answer.",
        "agent": graph_agent.create_app(Settings(), graphs()),
        "builder": AnyBuilder(graph_agent.AgentState),
        "model": graph_agent.chat_model("databricks:a-model"),
        "my_lifespan": my_lifespan,
        "send_mail": send_mail,
        "tools": [send_mail],
        "weather": graph_of(echo),
        "workspace": Workspace(url),
        **_signed_message(),
    }


def check_imports(block: Block) -> None:
    """Import what the block imports."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            wanted = [(one.name, None) for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(str(node.module), one.name) for one in node.names]
        else:
            continue
        for module, name in wanted:
            if module.startswith("graphs."):
                # Of the reader's project.
                continue
            try:
                found = importlib.import_module(module)
                if name is not None and not hasattr(found, name):
                    importlib.import_module(f"{module}.{name}")
            except ImportError as error:
                raise WrongPage(f"{block.place}: {module} has no {name or 'module of this name'}") from error


def run_python(block: Block, url: str) -> None:
    """Run the block. The service that it calls is at `url`, and `DatabricksOpenAI` finds every app there."""
    text = block.text.replace("DatabricksOpenAI()", "DatabricksOpenAI(workspace_client=workspace)")
    for host in SHOWN_HOSTS:
        text = text.replace(host, url)
    names = names_for_fragments(url)
    try:
        exec(compile(text, block.place, "exec"), names)
    except Exception as error:
        raise WrongPage(f"{block.place}: {type(error).__name__}: {error}") from error
    finally:
        _close(names.get("client"))


def _close(client: Any) -> None:
    """A page need not close its client."""
    if isinstance(client, DatabricksOpenAI):
        # It makes a client of its own for an app, and never closes it.
        client.responses._get_app_client("my-app").close()
    if isinstance(client, OpenAI):
        client.close()


# Commands


@dataclass
class Caller:
    """Sends the requests of a page, and parses its other commands. One for each page: variables stay."""

    url: str
    client: httpx.Client
    variables: dict[str, str] = field(default_factory=lambda: dict(VARIABLES))

    def take(self, block: Block) -> int:
        """Check every command of the block, and return how many."""
        found = commands(block)
        for command in found:
            for words in _simple_commands(command):
                self._take(command, words)
        return len(found)

    def take_plain(self, block: Block) -> int:
        """Send the requests of a block that holds nothing but `GET /path` and the like."""
        lines = [re.fullmatch(r"(GET|POST|DELETE|PATCH) (/\S*)", one) for one in block.text.splitlines()]
        if not all(lines):
            return 0
        for line in lines:
            assert line
            path = self._with_ids(line[2], line[2])
            answer = self.client.request(line[1], f"{self.url}{path}", json={} if line[1] != "GET" else None)
            self._must_exist(answer, block.place)
        return len(lines)

    def _take(self, command: Command, words: list[str]) -> None:
        while words and (assigned := re.fullmatch(r"(\w+)=(.*)", words[0], re.DOTALL)):
            self.variables[assigned[1]] = assigned[2]
            words = words[1:]
        words = [self._expanded(command, word) for word in words]
        match words:
            case []:
                pass
            case ["curl", *rest]:
                self._request(command, rest)
            case ["graph-agent", *rest] | ["python", "-m", "graph_agent", *rest]:
                parse_command(command, rest)
            case ["make", *rest]:
                check_make(command, rest)
            case ["export", *rest]:
                # `…` stands for a value of the reader.
                self.variables |= dict(
                    one.replace("https://…", WORKSPACE).replace("…", "x").split("=", 1) for one in rest
                )
            case ["python", "-m", "venv", _] | ["python", "-m", "pytest", *_]:
                pass
            case ["python", script, *_] if script.endswith(".py"):
                if not any((folder / script).is_file() for folder in (ROOT, TEMPLATE)):
                    raise WrongPage(f"{command.place}: there is no {script}")
            case ["uv", "run", *rest]:
                check_name(command, rest)
            case [program, *_] if program in OTHERS:
                pass
            case [program, *_]:
                raise WrongPage(f"{command.place}: nothing checks commands of {program}")

    def _expanded(self, command: Command, word: str) -> str:
        def value(found: re.Match[str]) -> str:
            if found[1] not in self.variables:
                raise WrongPage(f"{command.place}: ${found[1]} is not set on this page")
            return self.variables[found[1]]

        return re.sub(r"\$(\w+)", value, word)

    def _request(self, command: Command, words: list[str]) -> None:
        options = _curl(command, words)
        address = options.url if "://" in options.url else f"http://{options.url}"
        if address.startswith(WORKSPACE):
            return
        parts = urlsplit(address)
        if f"{parts.scheme}://{parts.netloc}" not in SHOWN_HOSTS:
            raise WrongPage(f"{command.place}: {options.url} is not the service")
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        body = options.data
        if body is not None:
            path, body = self._with_ids(path, path), self._with_ids(body, path)
        else:
            path = self._with_ids(path, path)
        method = options.method or ("GET" if body is None else "POST")
        headers = dict(one.split(": ", 1) for one in options.header)
        content = None if body is None else body.encode()
        answer = self.client.request(method, f"{self.url}{path}", content=content, headers=headers)
        failed = answer.text if answer.status_code >= 400 else next(iter(_failures(answer.text)), "")
        if failed:
            raise WrongPage(f"{command.place}: {command.text}\n{answer.status_code}: {failed}")

    def _with_ids(self, text: str, path: str) -> str:
        """The text with ids that exist, of the same family as the address."""
        prefix = "/v1" if path.startswith("/v1") else ""
        if re.search(r"mcpr_[0-9a-f]+…?", text):
            asked = self._make(prefix, model="mail")
            ids = [one["id"] for one in asked["output"] if one["type"] == "mcp_approval_request"]
            text = re.sub(r"mcpr_[0-9a-f]+…?", ids[0], text)
        if re.search(r"\{id\}|resp_[0-9a-f]+|conv_[0-9a-f]+", text):
            made = self._make(prefix)
            text = re.sub(r"\{id\}|resp_[0-9a-f]+", made["id"], text)
            text = re.sub(r"conv_[0-9a-f]+", made["metadata"]["conversation_id"], text)
        return text

    def _make(self, prefix: str, **body: Any) -> Any:
        answer = self.client.post(f"{self.url}{prefix}/responses", json={"input": "Hello", **body})
        return answer.raise_for_status().json()

    def _must_exist(self, answer: httpx.Response, place: str) -> None:
        code = answer.json()["error"]["code"] if answer.status_code >= 400 else None
        if code in ("not_found", "method_not_allowed"):
            raise WrongPage(f"{place}: {answer.request.method} {answer.request.url.path}: {code}")


def _failures(text: str) -> Iterator[str]:
    yield from re.findall(r'^data: (\{"type":"(?:error|response\.failed)".*)$', text, re.MULTILINE)


def _simple_commands(command: Command) -> Iterator[list[str]]:
    """The commands of a line, split at `&&`, `|` and `;`. Of `NAME=$(…)`, those in the parentheses."""
    text = command.text.replace("\\\n", " ")
    if inner := re.fullmatch(r"\s*(\w+)=\$\((.*)\)\s*", text, re.DOTALL):
        text = inner[2]
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if set(word) <= set("&|;"):
            yield words
            words = []
        else:
            words.append(word)
    yield words


class _Refusing(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)


def _curl(command: Command, words: list[str]) -> argparse.Namespace:
    parser = _Refusing(add_help=False)
    for flag in ("-s", "-N", "-i"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="header", action="append", default=[])
    parser.add_argument("-d", dest="data", action="append")
    parser.add_argument("-o", dest="file")
    parser.add_argument("-u", dest="user")
    parser.add_argument("url")
    try:
        options = parser.parse_args(words)
    except ValueError as error:
        raise WrongPage(f"{command.place}: curl: {error}") from error
    options.data = None if options.data is None else "&".join(options.data)
    return options


def parse_command(command: Command, words: list[str]) -> None:
    """Parse a command of graph-agent with its own parser, without running it."""
    name = words[0] if words else ""
    if name not in cli.COMMANDS:
        raise WrongPage(f"{command.place}: graph-agent has no command {name!r}")
    module = importlib.import_module(f"graph_agent.commands.{cli.COMMANDS[name].module}")
    try:
        if name == "eval":
            from graph_agent.evaluating.options import parser

            rest = words[1:]
            # Without a command it is `run`.
            parser().parse_args(rest if rest and not rest[0].startswith("-") else ["run", *rest])
        else:
            with mock.patch.object(module, "run", return_value=0), mock.patch("logging.basicConfig"):
                cli.main(words)
    except SystemExit as end:
        raise WrongPage(f"{command.place}: {command.text}: the parser refuses it") from end


def check_name(command: Command, words: list[str]) -> None:
    """Check a command of the app templates: `uv run start-app`. Its arguments are those of a command of graph-agent."""
    if words[:1] == ["--env-file"]:
        words = words[2:]
    names = runpy.run_path(str(TEMPLATE / "scripts" / "names.py"))["NAMES"]
    if not words or words[0] not in names:
        raise WrongPage(f"{command.place}: the names of the app templates have no {' '.join(words[:1])}")
    parse_command(command, [*names[words[0]], *words[1:]])


def check_make(command: Command, words: list[str]) -> None:
    """Check that the Makefile has the targets, and uses the variables that are given to it."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, given, _ = word.partition("=")
        if not given and not re.search(rf"^{re.escape(name)}:", text, re.MULTILINE):
            raise WrongPage(f"{command.place}: there is no target {name}")
        if given and f"$({name})" not in text and f",{name})" not in text and f"{name} ?=" not in text:
            raise WrongPage(f"{command.place}: the Makefile does not use {name}")
