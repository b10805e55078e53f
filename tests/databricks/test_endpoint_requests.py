"""An endpoint gets the requests that `ChatDatabricks` would send it."""

import contextlib
from typing import Any

import openai
import pytest
from databricks_langchain import ChatDatabricks
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from tests.standin.server import StandIn

from graph_agent import AgentError, chat_model
from graph_agent.databricks.clients import workspace_client

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

CALL = {"name": "look_up", "args": {"word": "blå"}, "id": "call_1", "type": "tool_call"}
BROKEN = {"name": "look_up", "args": '{"word', "id": "call_2", "error": "cut", "type": "invalid_tool_call"}
KEPT = {"id": "call_3", "type": "function", "function": {"name": "look_up", "arguments": "{}"}, "index": 0}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "strict": True, "parameters": {"type": "object", "properties": {}}},
}

CONVERSATIONS: dict[str, list[BaseMessage]] = {
    "texts": [
        SystemMessage("Be brief."),
        HumanMessage("What colour?", name="Ann"),
        AIMessage("Blue."),
        HumanMessage("?"),
    ],
    "parts": [HumanMessage([{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:,"}}])],
    "calls": [
        HumanMessage("?"),
        AIMessage("", tool_calls=[CALL], invalid_tool_calls=[BROKEN]),
        ToolMessage([{"type": "text", "text": "blue", "index": 1}, {"type": "text"}, "x"], tool_call_id="call_1"),
        ToolMessage("unreadable", tool_call_id="call_2", name="look_up"),
    ],
    "calls beside a text": [HumanMessage("?"), AIMessage("Wait.", tool_calls=[CALL])],
    "calls beside a blank text": [HumanMessage("?"), AIMessage(" ", tool_calls=[CALL])],
    "calls that are kept": [HumanMessage("?"), AIMessage("", additional_kwargs={"tool_calls": [KEPT]})],
    "another role": [ChatMessage(role="developer", content="Be brief."), HumanMessage("?")],
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "none": {},
    "numbers": {"temperature": 0, "n": 2, "max_tokens": 9},
    "texts": {"stop": ["END"], "extra_params": {"top_p": 0.3, "temperature": 1}},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "tools": {"tools": [TOOL], "strict": True},
    "others": {"stop": ["\n"], "temperature": 0.5, "top_p": 0.1, "custom_inputs": {"user": "ann"}},
}


async def sent(standing: StandIn, model: Any, messages: list[BaseMessage], arguments: dict[str, Any]) -> Any:
    """Ask the model, and return the request. The stand-in has no endpoint of most names."""
    standing.forget()
    with contextlib.suppress(openai.APIStatusError, AgentError):
        await model.ainvoke(messages, **arguments)
    (call,) = standing.calls("/serving-endpoints/")
    return call.path, call.json, call.token


@pytest.mark.parametrize("endpoint", ["local-model", "databricks-claude-haiku", "databricks-gpt-5"])
@pytest.mark.parametrize("asked", CONVERSATIONS)
async def test_a_conversation_is_sent_as_chat_databricks_sends_it(standing: StandIn, endpoint: str, asked: str) -> None:
    library = ChatDatabricks(model=endpoint, workspace_client=workspace_client(), max_retries=0)
    tools = {"tools": [TOOL]}
    ours = await sent(standing, chat_model(f"databricks:{endpoint}", max_retries=0), CONVERSATIONS[asked], tools)
    theirs = await sent(standing, library, CONVERSATIONS[asked], tools)
    # `chat_model` streams wherever it can, and asks for a complete answer here.
    assert ours == theirs


@pytest.mark.parametrize("given", ARGUMENTS)
@pytest.mark.parametrize("parameters", PARAMETERS)
async def test_parameters_are_sent_as_chat_databricks_sends_them(
    standing: StandIn, parameters: str, given: str
) -> None:
    set_up = {"max_retries": 0, **PARAMETERS[parameters]}
    library = ChatDatabricks(model="local-model", workspace_client=workspace_client(), **set_up)
    model = chat_model("databricks:local-model", **set_up)
    question: list[BaseMessage] = [HumanMessage("What colour?")]
    assert await sent(standing, model, question, dict(ARGUMENTS[given])) == await sent(
        standing, library, question, dict(ARGUMENTS[given])
    )


@pytest.mark.parametrize("choice", [None, "look_up", "auto", "none", "required", "any", TOOL])
async def test_a_choice_of_tools_is_sent_as_chat_databricks_sends_it(standing: StandIn, choice: Any) -> None:
    library = ChatDatabricks(model="local-model", workspace_client=workspace_client(), max_retries=0)
    model = chat_model("databricks:local-model", max_retries=0)
    question: list[BaseMessage] = [HumanMessage("What colour?")]
    ours = await sent(standing, model.bind_tools([TOOL], tool_choice=choice), question, {})
    assert ours == await sent(standing, library.bind_tools([TOOL], tool_choice=choice), question, {})
