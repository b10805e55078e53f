"""The MCP servers of Databricks, recognized by their addresses in the code of a template."""

import ast
import json

from graph_agent.migrating.sources import Module

PREFIX = "/api/2.0/mcp/"


def declared_server(module: Module, call: ast.Call) -> str | None:
    """The declaration `McpServer.…` for a server that a template makes. `None` if its address is not in the code."""
    given = {one.arg: module.text_of(one.value) for one in call.keywords if one.arg}
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    schema = f"{given.get('catalog')}.{given.get('schema')}"
    if method in ("from_uc_function", "from_vector_search"):
        if not given.get("catalog") or not given.get("schema"):
            return None
        part = given.get("function_name") or given.get("index_name")
        kind = "functions" if method == "from_uc_function" else "vector_search"
        return f"McpServer.{kind}({json.dumps(f'{schema}.{part}' if part else schema)})"
    address = next((one.value for one in call.keywords if one.arg == "url"), None)
    if address is None:
        params = next((one.value for one in call.keywords if one.arg == "params"), None)
        if isinstance(params, ast.Dict):
            for key, value in zip(params.keys, params.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "url":
                    address = value
    text = _text_in(module, address)
    if text is None:
        return None
    if PREFIX in text:
        return _managed(text.partition(PREFIX)[2])
    if text.startswith("https://"):
        name = given.get("name") or "server"
        return f"McpServer.at({json.dumps(text)}, name={json.dumps(name)})"
    return None


def _text_in(module: Module, node: ast.expr | None) -> str | None:
    """The text of an address. Of `f"{host}/path"` and `build_mcp_url("/path", …)`, the path."""
    if node is None:
        return None
    if (text := module.text_of(node)) is not None:
        return text
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[-1], ast.Constant):
        return str(node.values[-1].value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text_in(module, node.right)
    if isinstance(node, ast.Call) and node.args:
        return _text_in(module, node.args[0])
    return None


def _managed(path: str) -> str | None:
    match [one for one in path.split("?")[0].split("/") if one]:
        case ["functions", *names] if len(names) in (2, 3):
            return f"McpServer.functions({json.dumps('.'.join(names))})"
        case ["vector-search", *names] if len(names) in (2, 3):
            return f"McpServer.vector_search({json.dumps('.'.join(names))})"
        case ["ai-search", *names] if len(names) in (2, 3):
            return f"McpServer.ai_search({json.dumps('.'.join(names))})"
        case ["genie"]:
            return "McpServer.genie()"
        case ["genie", space]:
            return f"McpServer.genie({json.dumps(space)})"
        case ["sql"]:
            return "McpServer.sql()"
        case ["external", name]:
            return f"McpServer.external({json.dumps(name)})"
    return None
