"""Unmodified clients that bring tools and ask for JSON: OpenAI's SDK, LangChain and the Agents SDK, over a socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from agents import Agent, Runner, function_tool, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, SecretStr

from graph_agent import AgentState, Settings, create_app, make_planner, make_tools, requested_nodes
from graph_agent.testing import Call, ScriptedChatModel, on_loopback

pytestmark = pytest.mark.anyio

CITY = '{"name": "Rome", "people": 3}'
ROME = Call("weather", ['{"city": ', '"Rome"}'], id="c1")
LOOK = Call("look", {"at": "it"}, id="c2")
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


class City(BaseModel):
    name: str
    people: int


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


Serve = Callable[..., Any]


@contextmanager
def served(*replies: Any) -> Iterator[tuple[str, ScriptedChatModel]]:
    """The address of a graph with a tool of its own, and its model."""
    model = ScriptedChatModel(*replies)
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=[look], prompt="Help."))
    builder.add_node("tools", make_tools([look]))
    builder.add_edge(START, "planner").add_edge("tools", "planner")
    builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END])
    app = create_app(Settings(tracing="off", store="memory"), {"a": builder.compile()}, environ={})
    with on_loopback(app) as url:
        yield f"{url}/v1", model


def heard(model: ScriptedChatModel) -> list[str]:
    return [one.text for one in model.requests[-1].messages[1:]]


def test_openais_sdk_streams_a_call_and_parses_the_answer() -> None:
    tools: Any = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}]
    with served([ROME, LOOK], CITY) as (url, model), OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        with client.responses.stream(model="a", input="Rome?", tools=tools) as stream:
            pieces = [one.delta for one in stream if one.type == "response.function_call_arguments.delta"]
            first = stream.get_final_response()
        assert pieces == ['{"city": ', '"Rome"}']
        assert [one.type for one in first.output] == ["function_call", "mcp_call"]
        outputs: Any = [{"type": "function_call_output", "call_id": "c1", "output": "sunny"}]
        second = client.responses.parse(
            model="a", input=outputs, tools=tools, previous_response_id=first.id, text_format=City
        )
        assert second.output_parsed == City(name="Rome", people=3)
        assert heard(model) == ["Rome?", "", "saw it", "sunny"]


def test_langchain_binds_tools_and_gets_structured_output() -> None:
    @tool
    def weather(city: str) -> str:
        """The weather."""
        return city

    script = [["Let me see.", ROME], "Sunny.", CITY, [Call("City", {"name": "Rome", "people": 3})]]
    # Its own client is closed by the garbage collector only.
    with served(*script) as (url, model), httpx.Client() as http:
        llm = ChatOpenAI(
            model="a", base_url=url, api_key=SecretStr("none"), use_responses_api=True, max_retries=0, http_client=http
        )
        asked: list[Any] = [HumanMessage("Rome?")]
        said = llm.bind_tools([weather]).invoke(asked)
        assert [(one["name"], one["args"]) for one in said.tool_calls] == [("weather", {"city": "Rome"})]
        answer = llm.bind_tools([weather]).invoke([*asked, said, ToolMessage("sunny", tool_call_id="c1")])
        assert answer.text == "Sunny."
        assert heard(model) == ["Rome?", "Let me see.", "sunny"]
        for method in ("json_schema", "function_calling"):
            structured = llm.with_structured_output(City, method=method)  # type: ignore[arg-type]
            assert structured.invoke("Rome?") == City(name="Rome", people=3)


async def test_the_agents_sdk_runs_its_tools_hands_off_and_gets_its_output_type() -> None:
    @function_tool
    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    set_tracing_disabled(True)
    script = [[ROME, LOOK], [Call("transfer_to_writer", {}, id="c3")], CITY]
    with served(*script) as (url, model):
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asked = OpenAIResponsesModel("a", client)
            writer = Agent(name="writer", model=asked, output_type=City)
            agent = Agent(name="first", model=asked, tools=[weather], handoffs=[writer])
            result = await Runner.run(agent, "Rome?")
        assert result.final_output == City(name="Rome", people=3)
        assert result.last_agent is writer
        assert heard(model) == ["Rome?", "", "saw it", "sunny in Rome", "", '{"assistant": "writer"}']
