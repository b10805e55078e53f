"""What a request asks of the models of a graph: it reaches them, or the response says that it does not."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph

from graph_agent import AgentState, ModelContextExceeded, Settings, chat_model, create_app, make_planner
from graph_agent.models import providers
from graph_agent.testing import AgentClient, FakeWorkspace, RequestRefused, ScriptedChatModel

pytestmark = pytest.mark.anyio

ASKED: dict[str, Any] = {
    "temperature": 0.3,
    "top_p": 0.8,
    "max_output_tokens": 500,
    "reasoning": {"effort": "low"},
    "text": {"verbosity": "high"},
}
SENT = {"temperature": 0.3, "top_p": 0.8, "max_tokens": 500, "reasoning_effort": "low", "verbosity": "high"}


def planner(model: Any) -> Any:
    builder = StateGraph(AgentState).add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    return builder.add_edge(START, "planner").add_edge("planner", END).compile()


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWorkspace]:
    with FakeWorkspace("Hello.", each_turn=True) as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        yield workspace


async def answered(graph: Any, **fields: Any) -> dict[str, Any]:
    app = create_app(Settings.from_environment(tracing="off", store="memory"), {"a": graph})
    async with AgentClient(app) as client:
        return await client.ask({"input": "Hi"} | fields, path="/v1/responses")


def warnings_of(response: dict[str, Any]) -> list[str]:
    found: list[str] = response["custom_outputs"].get("warnings", [])
    return [one.split("`")[1] for one in found]


async def test_the_options_reach_the_models_of_chat_model(workspace: FakeWorkspace) -> None:
    response = await answered(planner(chat_model("databricks:m")), **ASKED)
    [body] = workspace.chats
    assert {name: body.get(name) for name in SENT} == SENT
    assert warnings_of(response) == []
    assert {name: response[name] for name in ("temperature", "top_p", "max_output_tokens")} == {
        name: ASKED[name] for name in ("temperature", "top_p", "max_output_tokens")
    }
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert response["text"]["verbosity"] == "high"


async def test_nothing_is_sent_for_a_request_without_options(workspace: FakeWorkspace) -> None:
    await answered(planner(chat_model("databricks:m")))
    [body] = workspace.chats
    assert not SENT.keys() & body.keys()


async def test_what_the_author_sets_stays(workspace: FakeWorkspace) -> None:
    model = chat_model("databricks:m", temperature=0, max_tokens=9, extra_params={"reasoning_effort": "high"})
    response = await answered(planner(model), **ASKED)
    [body] = workspace.chats
    kept = {"temperature": 0, "max_tokens": 9, "reasoning_effort": "high"}
    assert {name: body.get(name) for name in SENT} == SENT | kept
    assert warnings_of(response) == ["temperature", "reasoning.effort"]


async def test_the_options_of_one_request_do_not_reach_another(workspace: FakeWorkspace) -> None:
    app = create_app(
        Settings.from_environment(tracing="off", store="memory"), {"a": planner(chat_model("databricks:m"))}
    )
    async with AgentClient(app) as client:
        await client.ask({"input": "Hi", "temperature": 0.3})
        await client.ask({"input": "Hi"})
    assert [body.get("temperature") for body in workspace.chats] == [0.3, None]


class Local(BaseChatModel):
    """A model of a provider that takes such options only as its settings."""

    temperature: float | None = None
    num_predict: int | None = None
    asked: list[Any] = []  # noqa: RUF012 - a field of a pydantic model

    @property
    def _llm_type(self) -> str:
        return "local"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        self.asked.append((self.temperature, self.num_predict))
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Hello."))])


async def test_a_model_without_such_parameters_gets_them_as_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Local()
    monkeypatch.setattr(providers, "_of_langchain", lambda model, parameters: made)
    response = await answered(planner(chat_model("local:m")), **ASKED)
    assert made.asked == [(0.3, 500)]
    assert (made.temperature, made.num_predict) == (None, None)
    assert warnings_of(response) == ["top_p", "reasoning.effort", "text.verbosity"]


async def test_what_has_no_effect_is_named() -> None:
    fields: dict[str, Any] = {"frequency_penalty": 0.5, "reasoning": {"summary": "auto"}}
    fields |= {"top_logprobs": 2, "service_tier": "flex"}
    response = await answered(planner(ScriptedChatModel("Hello.")), temperature=1, presence_penalty=0, **fields)
    named = ["frequency_penalty", "reasoning.summary", "service_tier"]
    # Those that no model has taken come last.
    assert warnings_of(response) == [*named, "temperature", "top_logprobs"]


async def test_what_is_so_anyway_needs_no_warning() -> None:
    fields: dict[str, Any] = {"include": ["reasoning.encrypted_content"], "service_tier": "auto"}
    response = await answered(planner(ScriptedChatModel("Hello.")), prompt_cache_key="k", **fields)
    assert warnings_of(response) == []
    assert (response["service_tier"], response["prompt_cache_key"]) == ("default", "k")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 1.5}, "top_logprobs"),
        ({"service_tier": "best"}, "service_tier"),
        ({"truncation": "some"}, "truncation"),
        ({"reasoning": {"effort": "extreme"}}, "reasoning.effort"),
        ({"text": {"verbosity": "endless"}}, "text.verbosity"),
    ],
)
async def test_a_value_out_of_range_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        await answered(planner(ScriptedChatModel("Hello.")), **fields)
    assert (caught.value.status, caught.value.body["error"]["param"]) == (400, param)


async def test_a_conversation_that_is_too_long_fails_if_the_request_wants_all_of_it() -> None:
    def reply(messages: Any) -> Any:
        long = sum(len(one.text) for one in messages) > 500
        return ModelContextExceeded("the conversation is too long for the model") if long else "Hello."

    turns = [{"role": role, "content": role * 40} for role in ("user", "assistant") * 3]
    asked: list[Any] = [*turns, {"role": "user", "content": "Hi"}]
    graph = planner(ScriptedChatModel(reply))
    for truncation in (None, "auto"):
        response = await answered(graph, input=asked, truncation=truncation, store=False)
        assert (response["status"], warnings_of(response)) == ("completed", [])
        assert response["truncation"] == (truncation or "disabled")
    with pytest.raises(RequestRefused) as caught:
        await answered(graph, input=asked, truncation="disabled", store=False)
    assert (caught.value.status, caught.value.body["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_graph_without_such_a_node_names_truncation_in_a_warning() -> None:
    async def plainly(state: AgentState) -> dict[str, Any]:
        return {"messages": [AIMessage("Hello.")]}

    graph = StateGraph(AgentState).add_node("n", plainly).add_edge(START, "n").add_edge("n", END).compile()
    assert warnings_of(await answered(graph, truncation="auto")) == ["truncation"]
