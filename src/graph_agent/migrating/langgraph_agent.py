"""Takes the graph out of a template that serves a LangGraph graph with MLflow's agent server."""

import ast
import builtins
from dataclasses import dataclass

from graph_agent.errors import ProjectNotRead
from graph_agent.migrating.findings import Finding
from graph_agent.migrating.handlers import assigned_in, enters, handlers_of, not_kept
from graph_agent.migrating.sources import Edits, Function, Kept, Module, Project
from graph_agent.migrating.writing import Written, unused, write_modules

ASKS = ("astream", "ainvoke", "stream", "invoke", "astream_events")
"""Methods with which a handler asks a graph."""

MAKERS = (
    "langchain.agents.create_agent",
    "langgraph.prebuilt.create_react_agent",
    "langgraph.graph.StateGraph",
    "langgraph.graph.state.StateGraph",
)
"""Calls that make a graph, and may say what its context is."""

ATTACHED = ("checkpointer", "store")
"""What the service attaches to each run."""

CHAT_MODELS = ("databricks_langchain.ChatDatabricks", "databricks_langchain.chat_models.ChatDatabricks")
USER_CLIENT = "get_user_workspace_client"


@dataclass(frozen=True, slots=True)
class _Graph:
    """Where the graph comes from: a variable, a call of a function, or an expression in a handler."""

    module: Module
    name: str = ""
    function: Function | None = None
    call: ast.Call | None = None
    entered: bool = False


def take_langgraph(project: Project, module: Module) -> Written:
    """The graph's code, without the code that answers requests.

    Raises:
        ProjectNotRead: it is not clear where the graph is made. The message names the place.
    """
    written = Written()
    handlers = handlers_of(module)
    graph = _asked_graph(project, module, handlers)
    without = frozenset({USER_CLIENT})
    roots = _roots(graph, module)
    project, added = _edited(project, project.needed(roots, without=without), graph, written)
    module, graph = project.modules[module.name], _again(project, graph)
    kept = project.needed(_roots(graph, module), without=without)
    for home in kept.statements:
        if USER_CLIENT in kept.names[home]:
            written.user_clients = True
            added.setdefault(home.name, []).append(f"from graph_agent import {USER_CLIENT}")
    main = graph.module
    ending = _ending(project, graph, module, handlers, kept, written)
    if ending and main is not module and graph.function is None:
        raise _unclear(module, handlers)
    write_modules(
        written,
        project,
        kept,
        main,
        added={project.modules[name]: lines for name, lines in added.items()},
        ending=ending,
    )
    for home in {*kept.statements, module}:
        written.left += not_kept(home, frozenset(kept.names.get(home, ())), handlers if home is module else [])
    _state_keys(module, handlers, written)
    _mcp_clients(kept, written)
    return written


def _asked_graph(project: Project, module: Module, handlers: list[Function]) -> _Graph:
    for function in [*handlers, *(one for one in module.functions() if one not in handlers)]:
        for node in ast.walk(function):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKS):
                continue
            if not isinstance(node.func.value, ast.Name):
                continue
            name = node.func.value.id
            made = assigned_in(function, name)
            if isinstance(made, ast.Call):
                if isinstance(made.func, ast.Name) and (found := project.defined(module, made.func.id)) is not None:
                    home, bound = found
                    if (maker := home.function(bound)) is not None:
                        return _Graph(home, bound, maker, made, enters(function, name))
                if _only_globals(module, made):
                    return _Graph(module, call=made)
            elif made is None and (found := project.defined(module, name)) is not None:
                home, bound = found
                if home.function(bound) is None:
                    return _Graph(home, bound)
    raise _unclear(module, handlers)


def _unclear(module: Module, handlers: list[Function]) -> ProjectNotRead:
    place = f"{module.path}:{handlers[0].lineno}" if handlers else module.path
    return ProjectNotRead(
        f"{place}: cannot see where the graph is made that answers requests; make it in a function of its own that"
        " returns the compiled graph, call that function in the handler, and run the command again",
        param=module.path,
    )


def _only_globals(module: Module, node: ast.expr) -> bool:
    known = {name for one in module.statements for name in one.binds} | set(dir(builtins))
    return all(one.id in known for one in ast.walk(node) if isinstance(one, ast.Name))


def _roots(graph: _Graph, module: Module) -> list[tuple[Module, str]]:
    if graph.name:
        return [(graph.module, graph.name)]
    assert graph.call is not None
    return [(module, one.id) for one in ast.walk(graph.call) if isinstance(one, ast.Name)]


def _again(project: Project, graph: _Graph) -> _Graph:
    """The same graph after its module has been edited."""
    module = project.modules[graph.module.name]
    return _Graph(module, graph.name, module.function(graph.name), graph.call, graph.entered)


def _edited(project: Project, kept: Kept, graph: _Graph, written: Written) -> tuple[Project, dict[str, list[str]]]:
    """The project with the calls of `kept` that the service needs in another form. Also the imports that these need."""
    edits = {module: Edits(module) for module in kept.statements}
    added: dict[str, list[str]] = {}
    _models(kept, edits, added, written)
    if _configurable(kept, edits, added):
        _with_context(kept, edits, added)
    _attached(kept, edits, graph, written)
    changed = {module.name: one.applied() for module, one in edits.items()}
    return Project(changed.get(module.name, module) for module in project.modules.values()), added


def _models(kept: Kept, edits: dict[Module, Edits], added: dict[str, list[str]], written: Written) -> None:
    """`ChatDatabricks(endpoint=…)` becomes `chat_model(…)`, which takes its endpoint from GRAPH_AGENT_MODEL."""
    for module, call in kept.nodes(ast.Call):
        if module.dotted(call.func) not in CHAT_MODELS:
            continue
        given = {one.arg: one for one in call.keywords}
        named = given.get("endpoint") or given.get("model")
        name = module.text_of(named.value) if named is not None else None
        if named is None or name is None or None in given or call.args or "chat_model" in _bound(module):
            written.left.append(
                Finding(
                    module.path,
                    call.lineno,
                    "ChatDatabricks is kept, because its endpoint is not a name in the code",
                    "use chat_model() of graph_agent, which acts for users and has time limits",
                )
            )
            continue
        edits[module].replace(call.func, "chat_model")
        added.setdefault(module.name, []).append("from graph_agent import chat_model")
        if written.endpoint in (None, name):
            written.endpoint = name
            edits[module].drop(call, named)
            where = "GRAPH_AGENT_MODEL of app.yaml names the endpoint"
        else:
            edits[module].replace(named.value, repr(f"databricks:{name}"))
            edits[module].rename(named, "name")
            where = "it names the endpoint"
        written.taken.append(Finding(module.path, call.lineno, f"ChatDatabricks, as chat_model(); {where}: {name}"))
        if client := given.get("workspace_client"):
            edits[module].drop(call, client)
            written.left.append(
                Finding(
                    module.path,
                    client.value.lineno,
                    "the model's workspace_client",
                    "set GRAPH_AGENT_AUTHORIZATION=user in app.yaml if calls must act for the user",
                )
            )


def _bound(module: Module) -> set[str]:
    return {name for one in module.statements for name in one.binds}


CONFIGURABLE = {
    "store": ("get_store()", "from langgraph.config import get_store"),
    "user_id": ("get_runtime(AgentContext).context.caller.user", ""),
    "thread_id": ("get_runtime(AgentContext).context.thread", ""),
}
"""What the template's handlers put into the run's configuration, and where the service has it."""


def _configurable(kept: Kept, edits: dict[Module, Edits], added: dict[str, list[str]]) -> bool:
    """Read what handlers put into `configurable` from the run instead. Returns whether the graph needs a context."""
    context = False
    for module, node in kept.nodes(ast.expr):
        key = _configured(node)
        if key not in CONFIGURABLE:
            continue
        text, line = CONFIGURABLE[key]
        edits[module].replace(node, text)
        lines = added.setdefault(module.name, [])
        if line:
            lines.append(line)
        else:
            context = True
            lines += ["from graph_agent import AgentContext", "from langgraph.runtime import get_runtime"]
    return context


def _configured(node: ast.AST) -> str:
    """The key of `config["configurable"]` that an expression reads, in any of its forms."""
    key, of = _item(node)
    return key if of is not None and _item(of)[0] == "configurable" else ""


def _item(node: ast.AST) -> tuple[str, ast.expr | None]:
    """The key and the mapping of `mapping["key"]` and `mapping.get("key", …)`."""
    match node:
        case ast.Subscript(value=of, slice=ast.Constant(value=str(key))):
            return key, of
        case ast.Call(func=ast.Attribute(value=of, attr="get"), args=[ast.Constant(value=str(key)), *_]):
            return key, of
    return "", None


def _with_context(kept: Kept, edits: dict[Module, Edits], added: dict[str, list[str]]) -> None:
    for module, call in kept.nodes(ast.Call):
        if module.dotted(call.func) in MAKERS and not any(one.arg == "context_schema" for one in call.keywords):
            edits[module].append(call, "context_schema=AgentContext")
            added.setdefault(module.name, []).append("from graph_agent import AgentContext")


def _attached(kept: Kept, edits: dict[Module, Edits], graph: _Graph, written: Written) -> None:
    """Leave out checkpointers and stores, which the service attaches."""
    parameters = set(_parameters(graph.function)) if graph.function is not None else set()
    for module, call in kept.nodes(ast.Call):
        compiles = isinstance(call.func, ast.Attribute) and call.func.attr == "compile"
        if not compiles and module.dotted(call.func) not in MAKERS:
            continue
        for one in call.keywords:
            if one.arg not in ATTACHED or (isinstance(one.value, ast.Constant) and one.value.value is None):
                continue
            # The new factory gives None for such a parameter of the function that makes the graph.
            if isinstance(one.value, ast.Name) and one.value.id in parameters & set(ATTACHED):
                continue
            edits[module].drop(call, one)
            written.left.append(
                Finding(
                    module.path,
                    one.value.lineno,
                    f"the graph's own {one.arg}: the service attaches one to each run",
                    "set GRAPH_AGENT_STORE to choose where conversations and memories are kept",
                )
            )


def _parameters(function: Function) -> list[str]:
    given = function.args
    return [one.arg for one in [*given.posonlyargs, *given.args, *given.kwonlyargs]]


def _ending(
    project: Project, graph: _Graph, module: Module, handlers: list[Function], kept: Kept, written: Written
) -> str:
    """The last lines of the main file: the factory, or the graph itself. Nothing if the graph is a variable."""
    taken = {name for one in graph.module.statements for name in one.binds}
    if graph.function is not None:
        assert graph.call is not None
        written.variable = name = unused("graph", taken)
        arguments = _arguments(module, graph.module, graph.function, graph.call, written)
        coroutine = isinstance(graph.function, ast.AsyncFunctionDef) and not graph.entered
        kind, call = ("async def", "await ") if coroutine else ("def", "")
        written.taken.append(Finding(graph.module.path, graph.function.lineno, f"the graph, now made by {name}()"))
        return (
            f"{kind} {name}():\n"
            '    """The graph that langgraph.json names. The service makes it once, at its start."""\n'
            f"    return {call}{graph.name}({', '.join(arguments)})"
        )
    if graph.call is not None:
        written.variable = name = unused("graph", taken)
        text = module.source(graph.call)
        written.taken.append(Finding(module.path, graph.call.lineno, f"the graph, now the variable {name}"))
        return f"{name} = {text}"
    written.variable = graph.name
    return ""


def _arguments(module: Module, home: Module, function: Function, call: ast.Call, written: Written) -> list[str]:
    """The arguments with which the factory calls the function that makes the graph."""
    names = _parameters(function)
    passed = dict(zip(names, call.args, strict=False)) | {one.arg: one.value for one in call.keywords if one.arg}
    positional = [*function.args.posonlyargs, *function.args.args]
    required = {one.arg for one in positional[: len(positional) - len(function.args.defaults)]}
    required |= {
        one.arg
        for one, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        if default is None
    }
    arguments = []
    for name in names:
        value = passed.get(name)
        if name in ATTACHED:
            given = "None" if name in required else ""
        elif isinstance(value, ast.Constant) or (value is not None and home is module and _only_plain(module, value)):
            given = module.source(value)
        else:
            given = "None" if name in required else ""
            if value is not None:
                written.left.append(
                    Finding(
                        module.path,
                        call.lineno,
                        f"the argument {name} of {function.name}: it came from the request",
                        "read it in a node or a tool from the run's context",
                    )
                )
        if given:
            arguments.append(f"{name}={given}")
    return arguments


def _only_plain(module: Module, node: ast.expr) -> bool:
    """Whether an expression uses only variables of the module that are text or numbers."""
    return all(
        isinstance(module.value(one.id), ast.Constant) for one in ast.walk(node) if isinstance(one, ast.Name)
    ) and not any(isinstance(one, ast.Call) for one in ast.walk(node))


def _state_keys(module: Module, handlers: list[Function], written: Written) -> None:
    """Report further keys that a handler puts into the graph's state."""
    for handler in handlers:
        for node in ast.walk(handler):
            if not isinstance(node, ast.Dict):
                continue
            keys = [one.value for one in node.keys if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if "messages" in keys and (more := sorted(set(keys) - {"messages"})):
                written.left.append(
                    Finding(
                        module.path,
                        node.lineno,
                        f"{', '.join(more)} in the graph's input: the service gives it messages only",
                        "read custom_inputs from the run's context (AgentContext) where the graph needs it",
                    )
                )


def _mcp_clients(kept: Kept, written: Written) -> None:
    for module, call in kept.nodes(ast.Call):
        if module.dotted(call.func).endswith(".DatabricksMultiServerMCPClient"):
            written.left.append(
                Finding(
                    module.path,
                    call.lineno,
                    "the MCP client is kept: it lists its tools once, at the start, and calls them as the app",
                    "use McpTools of graph_agent for lists that stay fresh and calls as the user",
                )
            )
