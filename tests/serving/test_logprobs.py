"""The probabilities of tokens: asked of the model, and told for exactly the text that was shown."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from openai.types.responses import ResponseOutputText
from tests.wire import frames

from graph_agent import AgentState, Settings, chat_model, create_app, make_planner, takes_logprobs
from graph_agent.testing import AgentClient, FakeWorkspace, Finish, RequestRefused, ScriptedChatModel

pytestmark = pytest.mark.anyio

SECRET = "dapi" + "0123456789abcdef" * 2
INCLUDE = ["message.output_text.logprobs"]
TEXTS = {
    "plain": ["Ro", "me", " it is."],
    "emoji": ["Hi ", "\N{GRINNING FACE}", "!"],
    "secret": ["It is ", SECRET[:9], SECRET[9:], " ok."],
}


def token(text: str) -> dict[str, Any]:
    one = {"token": text, "logprob": -0.25, "bytes": list(text.encode())}
    return {**one, "top_logprobs": [one, {"token": "Other", "logprob": -3.5, "bytes": None}]}


def piece(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": [token(text)]}}]}


def reply(body: Any) -> list[Any]:
    return [*map(piece, TEXTS[body["messages"][-1]["content"]]), Finish("stop")]


def graph_of(node: Any) -> Any:
    return StateGraph(AgentState).add_node("n", node).add_edge(START, "n").add_edge("n", END).compile()


async def plainly(state: AgentState) -> dict[str, Any]:
    return {"messages": [AIMessage("Hello.")]}


@takes_logprobs
async def asking(state: AgentState) -> dict[str, Any]:
    return {"messages": [await chat_model("databricks:m").ainvoke(state["messages"])]}


@pytest.fixture(scope="module")
def workspace() -> Iterator[FakeWorkspace]:
    with FakeWorkspace(reply, each_turn=True) as running:
        yield running


@pytest.fixture
async def client(workspace: FakeWorkspace) -> AsyncIterator[AgentClient]:
    planner = make_planner(model=chat_model("databricks:m"), tools=[], prompt="Help.")
    scripted = make_planner(model=ScriptedChatModel("Hello."), tools=[], prompt="Help.")
    graphs = {"a": planner, "own": asking, "scripted": scripted, "plain": plainly}
    app = create_app(
        Settings(tracing="off", store="memory"),
        {name: graph_of(node) for name, node in graphs.items()},
        environ=workspace.environment(),
    )
    async with AgentClient(app) as made:
        yield made


def told(logprobs: Any) -> list[str]:
    return [one["token"] for one in logprobs]


@pytest.mark.parametrize("model", ["a", "own"])
@pytest.mark.parametrize("text", ["plain", "emoji"])
async def test_the_deltas_and_the_text_have_the_tokens_of_what_was_shown(
    client: AgentClient, workspace: FakeWorkspace, model: str, text: str
) -> None:
    body = {"model": model, "input": text, "top_logprobs": 2, "include": INCLUDE, "stream": True}
    *events, _ = frames((await client.post("/v1/responses", json=body)).text)
    assert (workspace.chats[-1]["logprobs"], workspace.chats[-1]["top_logprobs"]) == (True, 2)
    deltas = [one for one in events if one["type"] == "response.output_text.delta"]
    shown, known = "", ""
    for one in deltas:
        shown, known = shown + one["delta"], known + "".join(told(one["logprobs"]))
        # Never more than what was shown, and never less than all tokens that were shown as a whole.
        assert shown.startswith(known)
        assert len(shown) - len(known) < max(map(len, TEXTS[text]))
    assert known == shown == "".join(TEXTS[text])
    [done] = [one for one in events if one["type"] == "response.output_text.done"]
    response = events[-1]["response"]
    [part] = response["output"][-1]["content"]
    assert told(done["logprobs"]) == told(part["logprobs"]) == TEXTS[text]
    assert part["logprobs"][0]["top_logprobs"][1] == {"token": "Other", "logprob": -3.5, "bytes": list(b"Other")}
    assert response["top_logprobs"] == 2
    # OpenAI's SDK understands them.
    read = ResponseOutputText.model_validate(part).logprobs
    assert read is not None
    assert [one.token for one in read] == TEXTS[text]


async def test_a_secret_is_not_told_by_its_tokens(client: AgentClient) -> None:
    body = {"model": "a", "input": "secret", "include": INCLUDE}
    streamed = await client.post("/v1/responses", json={**body, "stream": True})
    whole = await client.post("/v1/responses", json=body)
    chat = {"model": "a", "messages": [{"role": "user", "content": "secret"}], "logprobs": True}
    answers = [streamed, whole, await client.post("/v1/chat/completions", json=chat)]
    answers.append(await client.post("/v1/chat/completions", json={**chat, "stream": True}))
    for answer in answers:
        assert answer.status_code == 200
        assert SECRET[:9] not in answer.text
        assert SECRET[9:] not in answer.text
        assert " ok." in answer.text
    assert whole.json()["output"][-1]["content"][0]["logprobs"] == []


async def test_who_does_not_ask_gets_none(client: AgentClient, workspace: FakeWorkspace) -> None:
    response = await client.ask({"model": "a", "input": "plain", "top_logprobs": 0}, path="/v1/responses")
    assert "logprobs" not in workspace.chats[-1]
    assert response["output"][-1]["content"][0]["logprobs"] == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/responses", {"input": "Hi", "top_logprobs": 1}, "top_logprobs"),
        ("/v1/responses", {"input": "Hi", "include": INCLUDE}, "include"),
        ("/responses", {"input": "Hi", "include": INCLUDE, "background": True}, "include"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "logprobs": True}, "logprobs"),
    ],
)
async def test_a_graph_that_has_none_refuses_before_it_runs(
    client: AgentClient, path: str, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        await client.ask({"model": "plain", **body}, path=path)
    error = refused.value.body["error"]
    assert (refused.value.status, error["code"], error["param"]) == (400, "unsupported_field", param)
    assert f"`{param}`" in error["message"]


async def test_a_model_that_takes_no_such_option_is_named_in_a_warning(client: AgentClient) -> None:
    response = await client.ask({"model": "scripted", "input": "Hi", "top_logprobs": 3}, path="/v1/responses")
    [warning] = response["custom_outputs"]["warnings"]
    assert warning.startswith("`top_logprobs` has no effect")


async def test_a_chat_completion_has_them_whole_and_in_its_chunks(client: AgentClient) -> None:
    body = {
        "model": "a",
        "messages": [{"role": "user", "content": "plain"}],
        "logprobs": True,
        "top_logprobs": 1,
    }
    [choice] = (await client.ask(body, path="/v1/chat/completions"))["choices"]
    assert told(choice["logprobs"]["content"]) == TEXTS["plain"]
    *chunks, _ = frames((await client.post("/v1/chat/completions", json={**body, "stream": True})).text)
    told_so_far, shown = list[str](), ""
    for chunk in chunks:
        [part] = chunk["choices"]
        tokens = told((part["logprobs"] or {"content": []})["content"])
        told_so_far += tokens
        shown += part["delta"].get("content", "")
        assert shown.startswith("".join(told_so_far))
    assert told_so_far == TEXTS["plain"]
    with pytest.raises(RequestRefused) as refused:
        await client.ask({**body, "logprobs": False}, path="/v1/chat/completions")
    assert refused.value.body["error"]["param"] == "top_logprobs"


@pytest.mark.parametrize(
    "reported",
    [None, [], {"content": None}, {"content": [None, {"token": 1}, {"token": "x", "logprob": "y"}]}, {"content": {}}],
)
async def test_what_an_endpoint_reports_in_another_form_is_left_out(reported: Any) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "logprobs": reported}]}
    with FakeWorkspace([chunk, Finish("stop")], each_turn=True) as workspace:
        planner = make_planner(model=chat_model("databricks:m"), tools=[], prompt="Help.")
        app = create_app(
            Settings(tracing="off", store="memory"), {"a": graph_of(planner)}, environ=workspace.environment()
        )
        async with AgentClient(app) as client:
            response = await client.ask({"input": "Hi", "include": INCLUDE}, path="/v1/responses")
    assert response["output"][-1]["content"][0] | {"annotations": []} == {
        **{"type": "output_text", "text": "Hi.", "annotations": []},
        "logprobs": [],
    }
    assert json.dumps(response)
