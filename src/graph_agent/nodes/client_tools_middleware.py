"""The client's tools for LangChain's `create_agent`.

Imports LangChain's agents, which takes a second: import this module where an agent is made.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, hook_config
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.types import Command

from graph_agent.answer_form import AGAIN, TAKES_FORM, AnswerForm, current_answer_form
from graph_agent.client_tools import (
    RUNS_SERVED,
    TAKES_TOOLS,
    ServedCall,
    client_calls_of,
    current_client_tools,
    open_client_calls,
    with_marks,
)
from graph_agent.contract import ListedTools
from graph_agent.models.deferred import DeferredChatModel
from graph_agent.nodes.approvals import reviewed
from graph_agent.nodes.planner import early_end_of_model, fit, fit_gently, with_client_tools
from graph_agent.nodes.tools import CALL_SECONDS, asks_first, served_calls, tools_of_servers, use_tool
from graph_agent.tool_call_policy import with_unique_ids

Answer = ModelResponse[Any]


class ClientToolsMiddleware(AgentMiddleware[Any, Any]):
    """Gives the model of an agent the tools of the client, and ends the turn at a call of one of them.

        create_agent(model, tools, middleware=[ClientToolsMiddleware()])

    Put it first, so that no other middleware sees the end of the turn as a step of the model. An agent without it
    refuses requests with `tools`. If the request asks for JSON, the model is told so, and an answer that does not fit
    is asked for once more.

    Raises (while it runs):
        InvalidRequest: a tool of the client has the name of a tool of the agent.
    """

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Answer]) -> Answer:
        """Ask the model with the client's tools beside the agent's."""
        answer = handler(_asked(request))
        if (said := _unchecked(answer)) is not None:
            message, problem = fit(said, _form())
            answer = _with(answer, message)
            if (again := _asked_again(request, message, problem)) is not None:
                answer = handler(again)
                if (said := _unchecked(answer)) is not None:
                    answer = _with(answer, fit(said, _form())[0])
        return _read(answer, request.messages, get_config())

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Answer]]
    ) -> Answer:
        """Ask the model with the client's tools beside the agent's."""
        answer = await handler(_asked(request))
        if (said := _unchecked(answer)) is not None:
            message, problem = await fit_gently(said, _form())
            answer = _with(answer, message)
            if (again := _asked_again(request, message, problem)) is not None:
                answer = await handler(again)
                if (said := _unchecked(answer)) is not None:
                    answer = _with(answer, (await fit_gently(said, _form()))[0])
        return _read(answer, request.messages, get_config())

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run a call, unless the client does."""
        return Command() if _is_of_client(request) else handler(request)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Run a call, unless the client does. One of an MCP server that the client names is run here."""
        if _is_of_client(request):
            return Command()
        own = () if request.tool is None else (request.tool_call["name"],)
        served = served_calls(_asking(request), [request.tool_call], own=own)
        return await _run_served(request, served) if served else await handler(request)

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
    setattr(_hook, TAKES_FORM, True)
    setattr(_hook, RUNS_SERVED, True)


def _asked(request: ModelRequest[Any]) -> ModelRequest[Any]:
    client, form = current_client_tools(), current_answer_form()
    if form is not None:
        told = [] if request.system_message is None else [request.system_message.text]
        request = request.override(system_message=SystemMessage("\n\n".join([*told, form.instructions])))
        if not request.tools and not client and isinstance(request.model, DeferredChatModel):
            # Not beside tools: some endpoints refuse both together.
            settings = {**request.model_settings, "response_format": form.response_format}
            request = request.override(model_settings=settings)
    if not client and client.choice != "none":
        return request
    asked = request.override(tools=list(with_client_tools(ListedTools(request.tools), client).tools))
    choice = client.choice_after(request.messages) if client else None
    return asked if choice is None else asked.override(tool_choice=choice)


def _form() -> AnswerForm:
    form = current_answer_form()
    assert form is not None, "only an answer in a form is checked"
    return form


def _unchecked(answer: Answer) -> AIMessage | None:
    """The message that must have the form that the request asks for, if the answer has one."""
    last = answer.result[-1] if answer.result else None
    if current_answer_form() is None or not isinstance(last, AIMessage) or last.tool_calls:
        return None
    return None if answer.structured_response is not None else last


def _with(answer: Answer, message: AIMessage) -> Answer:
    return ModelResponse(result=[*answer.result[:-1], message], structured_response=answer.structured_response)


def _asked_again(request: ModelRequest[Any], said: AIMessage, problem: str | None) -> ModelRequest[Any] | None:
    """The second attempt at an answer that does not have the form that the request asks for."""
    if problem is None or early_end_of_model(said):
        return None
    return _asked(request.override(messages=[*request.messages, said, HumanMessage(AGAIN.format(problem=problem))]))


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


async def _run_served(request: ToolCallRequest, served: Mapping[str, ServedCall]) -> ToolMessage:
    call = request.tool_call
    tools = tools_of_servers([call], served)
    # Each call has a task of its own, and so a question of its own.
    (one,) = reviewed([call], asks_first(served, ()), tools)
    if one.answer is not None:
        return one.answer
    return one.told(await use_tool(tools, one.call, get_config(), CALL_SECONDS, served=served[call["id"] or ""]))


def _asking(request: ToolCallRequest) -> AIMessage:
    """The message with the call."""
    messages = request.state["messages"] if isinstance(request.state, dict) else getattr(request.state, "messages", [])
    asking = (one for one in reversed(messages) if isinstance(one, AIMessage) and one.tool_calls)
    return next(asking, AIMessage(""))


def _is_of_client(request: ToolCallRequest) -> bool:
    call_id, last = request.tool_call["id"], _asking(request)
    if not last.tool_calls:
        return request.tool_call["name"] in current_client_tools().by_name
    return any(call["id"] == call_id for call in client_calls_of(last))
