"""Codex's requests, in their shape: its tools are the client's, it stores nothing, and it resends the whole history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, Settings, create_app, make_planner
from graph_agent.testing import AgentClient, Call, Reasoning, ScriptedChatModel

pytestmark = pytest.mark.anyio

PATH = "/v1/responses"
PATCH = "*** Begin Patch\n*** Update File: a.txt\n@@\n-world\n+graph\n*** End Patch\n"
SESSION = "01a22d24-3133-7d01-83cc-328b2a694f0e"


def function(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    return {"type": "function", "name": name, "description": "Does it.", "strict": False, "parameters": parameters}


SHELL = function("exec_command", cmd={"type": "string", "description": "Shell command to execute."})
AGENTS = {
    "type": "namespace",
    "name": "multi_agent_v1",
    "description": "Tools for agents.",
    "tools": [function("close_agent", target={"type": "string"})],
}
EDITOR = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /(.+)/"},
}
SEARCH = {"type": "web_search", "external_web_access": False}
FINDER = {
    "type": "tool_search",
    "execution": "client",
    "description": "Finds tools.",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
}


def said(role: str, *texts: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "id": f"msg_{role}_{len(texts)}", "role": role, "content": content}


ASKED = [said("developer", "You code."), said("developer", "Skills.", "Rules."), said("user", "Change the greeting.")]


def turn(items: list[dict[str, Any]], tools: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {
        "model": "a",
        "input": items,
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "client_metadata": {"session_id": SESSION, "x-codex-turn-metadata": '{"request_kind":"turn"}'},
        **fields,
    }


@asynccontextmanager
async def served(*replies: Any) -> AsyncIterator[tuple[AgentClient, ScriptedChatModel]]:
    model = ScriptedChatModel(*replies)
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    builder.add_edge(START, "planner")
    app = create_app(Settings(tracing="off", store="memory"), {"a": builder.compile()}, environ={})
    async with AgentClient(app) as http:
        yield http, model


async def items_of(http: AgentClient, body: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The items that are done, which is what Codex keeps of a stream, and the response."""
    events = [one async for one in http.stream(body, path=PATH)]
    assert events[-1]["type"] == "response.completed"
    return [one["item"] for one in events if one["type"] == "response.output_item.done"], events[-1]["response"]


async def test_codex_runs_a_command_and_resends_what_it_was_told() -> None:
    look = Call("exec_command", {"cmd": "cat a.txt"}, id="c1")
    async with served([Reasoning("Look first."), "I read it.", look], "It is changed.") as (http, model):
        tools = [SHELL, AGENTS, SEARCH]
        told, response = await items_of(http, turn(ASKED, tools, reasoning={"summary": "auto"}))
        assert [item["type"] for item in told] == ["reasoning", "message", "function_call"]
        assert model.requests[0].tool_names == ["exec_command", "multi_agent_v1__close_agent"]
        assert "client_metadata" not in response
        assert [one.split()[2] for one in response["custom_outputs"]["warnings"]][:1] == ["web_search"]

        # Codex keeps its own form of an item of reasoning.
        thought = {"content": None, "encrypted_content": None, **{k: told[0][k] for k in ("type", "id", "summary")}}
        result = {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "Output:\nworld\n"}
        answer, _ = await items_of(http, turn([*ASKED, thought, *told[1:], result], tools))
        assert answer[0]["content"][0]["text"] == "It is changed."
        heard = [(one.type, one.text) for one in model.requests[1].messages if one.type != "system"]
        assert heard == [("human", "Change the greeting."), ("ai", "I read it."), ("tool", "Output:\nworld\n")]


async def test_codex_patches_a_file_with_its_custom_tool() -> None:
    async with served(Call("apply_patch", {"input": PATCH}, id="c1"), "Patched.") as (http, model):
        tools, options = [SHELL, EDITOR, FINDER, SEARCH], {"reasoning": {"effort": "medium"}}
        options["text"] = {"verbosity": "low"}
        [call], response = await items_of(http, turn(ASKED, tools, **options))
        assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "apply_patch", PATCH)
        assert model.requests[0].tool_names == ["exec_command", "apply_patch"]
        named = [one.split()[2] for one in response["custom_outputs"]["warnings"] if one.startswith("The tool")]
        assert named == ["tool_search", "web_search"]

        result = {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": "c1", "output": "Exit code: 0"}
        [answer], _ = await items_of(http, turn([*ASKED, call, result], tools, **options))
        assert answer["content"][0]["text"] == "Patched."
        assert model.requests[1].messages[-1].text == "Exit code: 0"
