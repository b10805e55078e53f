"""Turns an agent of the OpenAI Agents SDK into a LangGraph agent with the same instructions and tools."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from graph_agent.errors import ProjectNotRead
from graph_agent.migrating.findings import Finding
from graph_agent.migrating.handlers import assigned_in, called_from, handlers_of, not_kept, without_await
from graph_agent.migrating.mcp_addresses import declared_server
from graph_agent.migrating.sources import Edits, Function, Module, Project
from graph_agent.migrating.writing import Written, unused, write_modules

PACKAGE = "agents"
RUNS = ("agents.Runner.run", "agents.Runner.run_streamed", "agents.Runner.run_sync")
TOOL_DECORATOR = "agents.function_tool"
CONTEXTS = ("RunContextWrapper", "ToolContext")
"""Types of the first parameter of a tool that takes the SDK's context."""

KNOWN_SETTINGS = ("temperature", "top_p", "max_tokens")
"""Fields of the SDK's ModelSettings that a chat model of LangChain has under the same names."""

WHAT_TO_DO = {
    "handoffs": "write each agent as a graph, and lead them with make_supervisor",
    "output_type": "give create_agent a response_format",
    "input_guardrails": "write a node before the agent, or a middleware of create_agent",
    "output_guardrails": "write a node after the agent, or a middleware of create_agent",
    "hooks": "use a middleware of create_agent",
    "tool_use_behavior": "route to the end after the tool in a graph of your own",
    "model_settings": "give chat_model() the parameters that the endpoint takes",
    "mcp_config": "nothing: McpTools of graph_agent lists and checks the tools",
    "prompt": "write the instructions as the system prompt",
}
"""What to do about arguments of `Agent(…)` that are not taken over."""


@dataclass(slots=True)
class _Tools:
    """The tools of an agent: functions that are kept, with their modules."""

    roots: list[tuple[Module, str]] = field(default_factory=list)


def take_agents_sdk(project: Project, module: Module) -> Written:
    """The agent as a graph: its instructions, its function tools and its MCP servers.

    Raises:
        ProjectNotRead: no agent that the handlers run can be seen. The message names the place.
    """
    written = Written()
    handlers = handlers_of(module)
    home, call = _agent(project, module, handlers)
    given = {one.arg: one.value for one in call.keywords if one.arg}
    if call.args:
        given.setdefault("name", call.args[0])
    tools = _Tools()
    if (listed := given.pop("tools", None)) is not None:
        _listed(project, home, listed, tools, written)
    servers = _servers(project, module, handlers, written)
    prompt, roots = _prompt(project, home, given.pop("instructions", None), written)
    parameters = _model(project, home, given, written)
    given.pop("mcp_servers", None)
    given.pop("name", None)
    for name, value in given.items():
        what = f"{name} of the agent is not taken over"
        written.left.append(
            Finding(home.path, value.lineno, what, WHAT_TO_DO.get(name, "write it as a node or a tool of the graph"))
        )
    _further_agents(project, call, written)

    roots += [(one, name, name) for one, name in tools.roots]
    edited, added = _decorated(project, tools, written)
    home = edited.modules[home.name]
    kept = edited.needed([(edited.modules[one.name], name) for one, name, _ in roots])
    kept.statements.setdefault(home, set())
    names = kept.names.setdefault(home, set()) | {bound for _, _, bound in roots}
    lines = {edited.modules[name]: those for name, those in added.items()}
    ending, imports = _graph(names, [name for _, name in tools.roots], servers, prompt, parameters, written)
    lines.setdefault(home, []).extend(imports)
    # What only the new lines use of other modules.
    borrowed = [(edited.modules[one.name], name, bound) for one, name, bound in roots if one.name != home.name]
    write_modules(written, edited, kept, home, added=lines, borrowed=borrowed, ending=ending)
    written.taken.append(Finding(home.path, call.lineno, f"the agent, now the variable {written.variable}"))
    told = {(one.path, one.line) for one in written.taken}
    for one in {*kept.statements, edited.modules[module.name]}:
        answering = handlers if one.name == module.name else []
        # A function that only made what is taken over is not left.
        making = {
            function.name
            for function in one.functions()
            if any((one.path, line) in told for line in range(function.lineno, (function.end_lineno or 0) + 1))
        }
        written.left += not_kept(one, frozenset({*kept.names.get(one, ()), *making}), answering)
    return written


def _agent(project: Project, module: Module, handlers: list[Function]) -> tuple[Module, ast.Call]:
    """The call of `Agent` that makes what the handlers run."""
    for home, function in called_from(project, module, handlers):
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or home.dotted(node.func) not in RUNS:
                continue
            first = node.args[0] if node.args else next((one.value for one in node.keywords if one.arg), None)
            found = _made(project, home, function, without_await(first), depth=0)
            if found is not None:
                return found
    place = f"{module.path}:{handlers[0].lineno}" if handlers else module.path
    raise ProjectNotRead(
        f"{place}: cannot see which Agent(…) the handlers run; give Runner.run an agent that a function or a variable"
        " of the project makes, and run the command again",
        param=module.path,
    )


def _made(
    project: Project, module: Module, function: Function | None, node: ast.expr | None, depth: int
) -> tuple[Module, ast.Call] | None:
    if depth > 5:
        return None
    if isinstance(node, ast.Call):
        if module.dotted(node.func) == "agents.Agent":
            return module, node
        if isinstance(node.func, ast.Name) and (found := project.defined(module, node.func.id)) is not None:
            home, name = found
            maker = home.function(name)
            for one in ast.walk(maker) if maker is not None else ():
                if isinstance(one, ast.Return) and (
                    made := _made(project, home, maker, without_await(one.value), depth + 1)
                ):
                    return made
    if isinstance(node, ast.Name):
        if function is not None and (value := assigned_in(function, node.id)) is not None:
            return _made(project, module, function, value, depth + 1)
        if (found := project.defined(module, node.id)) is not None:
            home, name = found
            return _made(project, home, None, home.value(name), depth + 1)
    return None


def _further_agents(project: Project, main: ast.Call, written: Written) -> None:
    for module in project.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and node is not main and module.dotted(node.func) == "agents.Agent":
                written.left.append(Finding(module.path, node.lineno, "another agent", WHAT_TO_DO["handoffs"]))


def _listed(project: Project, module: Module, node: ast.expr, tools: _Tools, written: Written, depth: int = 0) -> None:
    """Collect the function tools of a list."""
    if isinstance(node, ast.List | ast.Tuple):
        for one in node.elts:
            _listed(project, module, one, tools, written, depth + 1)
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        _listed(project, module, node.left, tools, written, depth + 1)
        _listed(project, module, node.right, tools, written, depth + 1)
        return
    if isinstance(node, ast.Starred):
        node = node.value
    if isinstance(node, ast.Name) and depth < 50 and (found := project.defined(module, node.id)) is not None:
        home, name = found
        if (function := home.function(name)) is not None:
            if problem := _no_plain_tool(home, function):
                written.left.append(Finding(home.path, function.lineno, f"the tool {name}: {problem[0]}", problem[1]))
            else:
                if (home, name) not in tools.roots:
                    tools.roots.append((home, name))
            return
        if (value := home.value(name)) is not None:
            _listed(project, home, value, tools, written, depth + 1)
            return
    what = f"the tool {' '.join(module.source(node).split())[:60]}"
    do = "write it as a LangChain tool, or use an MCP server (McpTools of graph_agent)"
    written.left.append(Finding(module.path, node.lineno, what, do))


def _no_plain_tool(module: Module, function: Function) -> tuple[str, str] | None:
    first = next(iter([*function.args.posonlyargs, *function.args.args]), None)
    if first is not None and first.annotation is not None:
        named = {one.id for one in ast.walk(first.annotation) if isinstance(one, ast.Name)}
        named |= {one.attr for one in ast.walk(first.annotation) if isinstance(one, ast.Attribute)}
        if named & set(CONTEXTS):
            return "it takes the context of the SDK", "write it with ToolRuntime of LangChain in place of the context"
    if _decorator(module, function) is None:
        return "it is not decorated with function_tool", "decorate it with tool of langchain_core.tools"
    return None


def _decorator(module: Module, function: Function) -> ast.expr | None:
    for one in function.decorator_list:
        if module.dotted(one.func if isinstance(one, ast.Call) else one) == TOOL_DECORATOR:
            return one
    return None


def _decorated(project: Project, tools: _Tools, written: Written) -> tuple[Project, dict[str, list[str]]]:
    """The project with LangChain's decorator in place of the SDK's."""
    edits: dict[str, Edits] = {}
    added: dict[str, list[str]] = {}
    for module, name in tools.roots:
        function = module.function(name)
        assert function is not None
        decorator = _decorator(module, function)
        assert decorator is not None
        word = unused("tool", {bound for one in module.statements for bound in one.binds})
        given = {one.arg: one.value for one in decorator.keywords} if isinstance(decorator, ast.Call) else {}
        arguments = [module.source(given.pop("name_override"))] if "name_override" in given else []
        if "description_override" in given:
            arguments.append(f"description={module.source(given.pop('description_override'))}")
        elif ast.get_docstring(function) is None:
            # LangChain refuses a tool without a description.
            arguments.append(f"description={name.replace('_', ' ')!r}")
            what = f"the tool {name} has no docstring, so its name describes it"
            written.left.append(Finding(module.path, function.lineno, what, "write a docstring for the model"))
        for key, value in given.items():
            what = f"{key} of the tool {name}"
            do = "nothing, if the tool returns its errors as text; else raise ToolException of langchain_core.tools"
            written.left.append(Finding(module.path, value.lineno, what, do))
        edit = edits.setdefault(module.name, Edits(module))
        edit.replace(decorator, word + (f"({', '.join(arguments)})" if arguments else ""))
        line = "from langchain_core.tools import tool" + ("" if word == "tool" else f" as {word}")
        added.setdefault(module.name, []).append(line)
    changed = {name: edit.applied() for name, edit in edits.items()}
    return Project(changed.get(one.name, one) for one in project.modules.values()), added


def _servers(project: Project, module: Module, handlers: list[Function], written: Written) -> list[str]:
    """The declarations of the MCP servers that the handlers connect to."""
    reached = {(home.name, function.name) for home, function in called_from(project, module, handlers)}
    found: list[str] = []
    for home in project.modules.values():
        for function in home.functions():
            for line, declared in _declared_in(home, function):
                if (home.name, function.name) not in reached:
                    hint = f"; {declared} of graph_agent is that server" if declared else ""
                    what = f"the MCP server of {function.name}: nothing connects to it{hint}"
                    written.left.append(Finding(home.path, line, what, "nothing, unless you want its tools"))
                elif declared is None:
                    what = f"the MCP server of {function.name}: its address is not in the code"
                    do = "declare it with McpServer of graph_agent, and add it to McpTools"
                    written.left.append(Finding(home.path, line, what, do))
                elif declared not in found:
                    found.append(declared)
                    written.taken.append(Finding(home.path, line, f"the MCP server of {function.name}, as {declared}"))
    return found


def _declared_in(module: Module, function: Function) -> Iterator[tuple[int, str | None]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            name = module.dotted(node.func)
            if name.startswith(("databricks_openai.", "agents.mcp.")) and "McpServer" in name.replace("MCP", "Mcp"):
                yield node.lineno, declared_server(module, node)


def _prompt(
    project: Project, module: Module, node: ast.expr | None, written: Written
) -> tuple[str, list[tuple[Module, str, str]]]:
    """The source of the instructions, and the names that it needs: where, as what, and as what it uses them."""
    if node is None:
        return "", []
    if isinstance(node, ast.Constant):
        return module.source(node), []
    roots = []
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            found = project.defined(module, one.id)
            if found is None or found[0].function(found[1]) is not None:
                break
            roots.append((*found, one.id))
    else:
        if not any(isinstance(one, ast.Call | ast.Await) for one in ast.walk(node)):
            return module.source(node), roots
    what = "instructions that are made for each run are not taken over"
    written.left.append(Finding(module.path, node.lineno, what, "use dynamic_prompt, a middleware of create_agent"))
    return "", []


def _model(project: Project, module: Module, given: dict[str, ast.expr], written: Written) -> list[str]:
    """The arguments of the chat model. The endpoint goes to GRAPH_AGENT_MODEL."""
    node = given.pop("model", None)
    if node is not None:
        name = module.text_of(node)
        if name is None and isinstance(node, ast.Name) and (found := project.defined(module, node.id)) is not None:
            name = found[0].text_of(found[0].value(found[1]))
        if name is None:
            what = "the model is not a name in the code"
            written.left.append(
                Finding(module.path, node.lineno, what, "set BUNDLE_VAR_model_endpoint to its endpoint")
            )
        else:
            written.endpoint = name
            what = f"the model, as chat_model(); GRAPH_AGENT_MODEL of app.yaml names the endpoint: {name}"
            written.taken.append(Finding(module.path, node.lineno, what))
    settings = given.get("model_settings")
    if not isinstance(settings, ast.Call) or settings.args:
        return []
    if all(one.arg in KNOWN_SETTINGS and isinstance(one.value, ast.Constant) for one in settings.keywords):
        given.pop("model_settings")
        return [f"{one.arg}={module.source(one.value)}" for one in settings.keywords]
    return []


def _graph(
    taken: set[str], tools: list[str], servers: list[str], prompt: str, parameters: list[str], written: Written
) -> tuple[str, list[str]]:
    """The lines that make the graph, and the imports they need."""
    written.variable = variable = unused("graph", taken)
    model = f"chat_model({', '.join(parameters)})"
    if not servers:
        make = unused("create_agent", taken)
        arguments = [f"model={model}", f"tools=[{', '.join(tools)}]"]
        arguments += [f"system_prompt={prompt}"] if prompt else []
        imported = "create_agent" if make == "create_agent" else f"create_agent as {make}"
        lines = [f"{variable} = {make}(", *(f"    {one}," for one in arguments), ")"]
        return "\n".join(lines), [f"from langchain.agents import {imported}", "from graph_agent import chat_model"]
    sources = f"McpTools([{', '.join(servers)}])"
    lines = [
        f"tools = [{', '.join([*tools, sources])}]",
        "",
        "builder = StateGraph(AgentState)",
        f'builder.add_node("planner", make_planner(model={model}, tools=tools, prompt={prompt or repr("")}))',
        'builder.add_node("tools", make_tools(tools))',
        'builder.add_edge(START, "planner")',
        'builder.add_conditional_edges("planner", requested_nodes(retrieval="none"), ["tools", END])',
        'builder.add_edge("tools", "planner")',
        "",
        f"{variable} = builder.compile()",
    ]
    ours = ["AgentState", "McpServer", "McpTools", "chat_model", "make_planner", "make_tools", "requested_nodes"]
    imports = ["from langgraph.graph import END, START, StateGraph", f"from graph_agent import {', '.join(ours)}"]
    return "\n".join(lines), imports
