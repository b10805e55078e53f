"""Models behind serving endpoints, through the real client over real sockets."""

import asyncio
from pathlib import Path

import pytest
from langchain_core.load import dumpd
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.databricks.conftest import USERS
from tests.databricks.service import service_here
from tests.standin.server import USAGE, StandIn, delta, stand_in

from graph_agent.errors import BadSetting, ModelFailed, ModelRateLimited, Unauthenticated
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.models import chat_model

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]


def counted(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 11 + tokens}


USAGES = {
    "on the finishing chunk": [delta(content="blue"), delta("stop") | {"usage": USAGE}],
    "cumulative on every chunk": [
        *(delta(content=word) | {"usage": counted(number)} for number, word in enumerate("abcdef", 1)),
        delta("stop") | {"usage": USAGE},
    ],
    "on a chunk of its own": [delta(content="blue"), delta("stop"), {"choices": [], "usage": USAGE}],
}


async def test_a_model_of_model_serving_answers_as_the_app(standing: StandIn) -> None:
    said = await chat_model("databricks:local-model").ainvoke("What colour?")
    assert said.text == "It is blue."
    (call,) = standing.calls("/serving-endpoints/")
    assert call.token
    assert not call.token.startswith("user-")


@pytest.mark.parametrize("usage", USAGES)
async def test_usage_is_counted_once(standing: StandIn, usage: str) -> None:
    standing.model.script = lambda body: USAGES[usage]
    whole = None
    async for chunk in chat_model("databricks:local-model").astream("What colour?"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.usage_metadata == {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}


@pytest.mark.parametrize("usage", USAGES)
async def test_the_service_reports_what_was_used(standing: StandIn, usage: str) -> None:
    standing.model.script = lambda body: USAGES[usage]
    async with service_here() as client:
        answer = await client.post("/invocations", json={"model": "asking", "input": "What colour?"})
    told = answer.json()["usage"]
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (11, 7, 18)


async def test_an_openai_model_streams_with_a_key_of_its_own(standing: StandIn) -> None:
    address = f"{standing.url}/serving-endpoints"
    model = chat_model("openai:local-model", base_url=address, api_key=standing.user(USERS[0]), max_retries=0)
    assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
    (call,) = standing.calls()
    assert (call.path, call.token) == ("/serving-endpoints/chat/completions", standing.user(USERS[0]))
    standing.fail("/chat/completions", 401)
    with pytest.raises(ModelFailed, match="check its API key"):
        await model.ainvoke("What colour?")


async def test_a_workspace_of_databricks_has_no_default_model(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await chat_model().ainvoke("What colour?")).text == "It is blue."
    standing.forget()
    for host in ("https://example.cloud.databricks.com", "example.cloud.databricks.com", "https://adb-1.2.azure.net/"):
        monkeypatch.setenv("DATABRICKS_HOST", host)
        with pytest.raises(BadSetting, match=r"^GRAPH_AGENT_MODEL is not set: .*`graph-agent doctor` lists"):
            await chat_model().ainvoke("What colour?")
        with pytest.raises(BadSetting, match="GRAPH_AGENT_MODEL is not set"):
            await chat_model().warm()  # type: ignore[attr-defined]
    assert standing.requests == []


async def test_models_of_unity_catalog_are_asked_through_the_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def answer(request: Request) -> Response:
        return JSONResponse({"choices": [{"message": {"content": "It is blue."}, "finish_reason": "stop"}]})

    gateway = "/ai-gateway/mlflow/v1/chat/completions"
    with stand_in(tmp_path / "workspace", more=[Route(gateway, answer, methods=["POST"])]) as standing:
        for name, value in standing.environment().items():
            monkeypatch.setenv(name, value)
        model = chat_model("databricks:system.ai.claude-sonnet")
        assert (await model.ainvoke("What colour?")).text == "It is blue."
        assert "".join([chunk.text async for chunk in model.astream("What colour?")]) == "It is blue."
        calls = standing.calls("chat/completions")
    assert {(one.path, one.json["model"]) for one in calls} == {(gateway, "system.ai.claude-sonnet")}
    assert all(one.token for one in calls)


async def test_one_model_object_acts_for_whoever_asks(standing: StandIn) -> None:
    model = chat_model("databricks:local-model", acting_as="user")
    for user in USERS[:3]:
        with with_user_token(UserToken(standing.user(user))):
            await model.ainvoke("What colour?")
            # In a thread, as from a synchronous node.
            await asyncio.to_thread(model.invoke, "What colour?")
    tokens = [call.token for call in standing.calls("/serving-endpoints/")]
    assert tokens == [standing.user(user) for user in USERS[:3] for _ in range(2)]


async def test_without_a_user_nothing_is_called(standing: StandIn) -> None:
    model = chat_model("databricks:local-model", acting_as="user")
    with pytest.raises(Unauthenticated):
        await model.ainvoke("What colour?")
    with pytest.raises(Unauthenticated):
        model.invoke("What colour?")
    assert standing.requests == []


async def test_a_node_can_act_as_the_app_where_the_others_act_for_the_user(
    standing: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_AUTHORIZATION", "user")
    with with_user_token(UserToken(standing.user(USERS[0]))):
        await chat_model("databricks:local-model", acting_as="app").ainvoke("What colour?")
    (call,) = standing.calls("/serving-endpoints/")
    assert call.token not in ("", standing.user(USERS[0]))


async def test_parameters_reach_the_endpoint_and_no_repr(standing: StandIn) -> None:
    model = chat_model("databricks:local-model", temperature=0.5, extra_params={"user": "secret"})
    await model.ainvoke("What colour?")
    assert standing.model.bodies[-1]["temperature"] == 0.5
    assert "secret" not in repr(model)
    assert "secret" not in str(dumpd(model))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mistralai:large", "pip install langchain-mistralai"),
        ("anthropic:claude", "pip install langchain-anthropic"),
        ("ollama:llama", "pip install langchain-ollama"),
        ("nobody:model", "cannot be set up"),
        ("databricks:", "must be 'provider:name'"),
    ],
)
async def test_a_model_that_cannot_be_made_says_what_to_change(name: str, says: str) -> None:
    with pytest.raises(BadSetting, match=says):
        await chat_model(name).ainvoke("What colour?")


async def test_any_providers_model_works_where_its_package_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "langchain_groq.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    model = chat_model("groq:llama", temperature=0.25)
    chunks = [chunk.text async for chunk in model.astream("What colour?")]
    assert "".join(chunks) == "llama at 0.25"
    with pytest.raises(ModelRateLimited, match=r"^model 'groq:llama' is rate limited \(429\): "):
        await model.ainvoke("too much")
    with pytest.raises(BadSetting, match="acting_as"):
        await chat_model("groq:llama", acting_as="user").ainvoke("What colour?")


PACKAGE = '''
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk


class RateLimited(Exception):
    status_code = 429


class ChatGroq(BaseChatModel):
    """A provider's model, as LangChain's packages are built."""

    model: str
    temperature: float

    @property
    def _llm_type(self):
        return "groq"

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        if messages[-1].text == "too much":
            raise RateLimited("the key sk-123 has no credit")
        for word in (self.model, " at ", str(self.temperature)):
            yield ChatGenerationChunk(message=AIMessageChunk(word))

    async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
        raise RateLimited("the key sk-123 has no credit")

    def _generate(self, *args, **kwargs):
        raise NotImplementedError
'''
