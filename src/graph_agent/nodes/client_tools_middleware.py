"""The client's tools for LangChain's `create_agent`.

Imports LangChain's agents, which takes a second: import this module where an agent is made.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.types import Command

from graph_agent.client_tools import TAKES_TOOLS, client_calls_of, current_client_tools, open_client_calls, with_marks
from graph_agent.contract import ListedTools
from graph_agent.nodes.planner import with_client_tools
from graph_agent.tool_call_policy import with_unique_ids

Answer = ModelResponse[Any]


class ClientToolsMiddleware(AgentMiddleware[Any, Any]):
    """Gives the model of an agent the tools of the client, and ends the turn at a call of one of them.

        create_agent(model, tools, middleware=[ClientToolsMiddleware()])

    Put it first, so that no other middleware sees the end of the turn as a step of the model. An agent without it
    refuses requests with `tools`.

    Raises (while it runs):
        InvalidRequest: a tool of the client has the name of a tool of the agent.
    """

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Answer]) -> Answer:
        """Ask the model with the client's tools beside the agent's."""
        return _read(handler(_asked(request)), request.messages, get_config())

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Answer]]
    ) -> Answer:
        """Ask the model with the client's tools beside the agent's."""
        return _read(await handler(_asked(request)), request.messages, get_config())

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run a call, unless the client does."""
        return Command() if _is_of_client(request) else handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Run a call, unless the client does."""
        return Command() if _is_of_client(request) else await handler(request)

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """End the turn if the client has to answer calls first."""
        return {"jump_to": "end"} if open_client_calls(state["messages"]) else None

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        """The same without a thread."""
        return self.before_model(state, runtime)


for _hook in (ClientToolsMiddleware.before_model, ClientToolsMiddleware.abefore_model):
    setattr(_hook, TAKES_TOOLS, ())


def _asked(request: ModelRequest[Any]) -> ModelRequest[Any]:
    client = current_client_tools()
    if not client and client.choice != "none":
        return request
    asked = request.override(tools=list(with_client_tools(ListedTools(request.tools), client).tools))
    choice = client.choice_after(request.messages) if client else None
    return asked if choice is None else asked.override(tool_choice=choice)


def _read(answer: Answer, messages: Sequence[BaseMessage], config: RunnableConfig) -> Answer:
    """The model's answer with ids that are unique in the conversation, and the client's calls marked."""
    client = current_client_tools()
    if not client:
        return answer
    read = [
        with_marks(with_unique_ids(client.only_first(one), messages, config)) if isinstance(one, AIMessage) else one
        for one in answer.result
    ]
    return ModelResponse(result=read, structured_response=answer.structured_response)


def _is_of_client(request: ToolCallRequest) -> bool:
    messages = request.state["messages"] if isinstance(request.state, dict) else getattr(request.state, "messages", [])
    call_id = request.tool_call["id"]
    last = next((one for one in reversed(messages) if isinstance(one, AIMessage) and one.tool_calls), None)
    if last is None:
        return request.tool_call["name"] in current_client_tools().by_name
    return any(call["id"] == call_id for call in client_calls_of(last))
