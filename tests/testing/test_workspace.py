"""The fake workspace, asked by the real clients."""

import asyncio
import threading
from collections.abc import Iterator

import httpx
import openai
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks_langchain import ChatDatabricks

from graph_agent.testing import Blocks, Call, FakeWorkspace, Finish, Reasoning, Usage, Wait

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("closed_clients")]

INDEX = "main.docs.project"
PASSAGES = ["The port is 8000.", {"text": "Dark mode is blue.", "title": "Colors", "team": "ui"}]


@pytest.fixture
def workspace() -> Iterator[FakeWorkspace]:
    with FakeWorkspace(indexes={INDEX: PASSAGES}, users={"token-ann": "ann"}) as running:
        yield running


def principal(workspace: FakeWorkspace) -> WorkspaceClient:
    return WorkspaceClient(
        config=Config(
            host=workspace.url,
            client_id=workspace.client_id,
            client_secret=workspace.client_secret,
            retry_timeout_seconds=1,
        )
    )


def chat(workspace: FakeWorkspace) -> ChatDatabricks:
    client = WorkspaceClient(host=workspace.url, token=workspace.token, auth_type="pat")
    return ChatDatabricks(model="any-name", workspace_client=client, max_retries=0)


def rest(workspace: FakeWorkspace) -> httpx.Client:
    return httpx.Client(base_url=workspace.url, headers={"authorization": f"Bearer {workspace.token}"})


async def test_a_service_principal_signs_in_and_a_user_is_known_by_a_token(workspace: FakeWorkspace) -> None:
    assert principal(workspace).current_user.me().user_name == "me@example.com"
    ann = WorkspaceClient(config=Config(host=workspace.url, token="token-ann", auth_type="pat"))
    assert ann.current_user.me().user_name == "ann"
    assert [one.line for one in workspace.calls()] == ["GET /api/2.0/preview/scim/v2/Me"] * 2
    assert workspace.calls()[1].token == "token-ann"
    assert [one.path for one in workspace.calls("token", sign_in=True)] == ["/oidc/v1/token"]


async def test_an_unknown_token_and_an_unknown_route_are_refused(workspace: FakeWorkspace) -> None:
    with rest(workspace) as client:
        assert client.get("/api/2.0/preview/scim/v2/Me", headers={"authorization": ""}).status_code == 401
        assert client.get("/api/2.0/clusters/list").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


async def test_a_script_answers_whole_and_streamed() -> None:
    call = Call("search", ['{"query": ', '"port"}'])
    script = [call, ["It ", "is ", "8000.", Usage(5, 4, cached=2)]]
    with FakeWorkspace(*script, *script) as workspace:
        model = chat(workspace)
        whole = [model.invoke("Which port?") for _ in range(2)]
        streamed = []
        for _ in range(2):
            chunks = list(model.stream("Which port?", stream_usage=True))
            streamed.append(sum(chunks[1:], chunks[0]))
        for first, second in (whole, streamed):
            assert [(one["name"], one["args"], one["id"]) for one in first.tool_calls] == [
                ("search", {"query": "port"}, "call_1")
            ]
            assert second.text == "It is 8000."
        assert len([chunk for chunk in workspace.chats if chunk.get("stream")]) == 2
        assert workspace.chats[0]["model"] == "any-name"
        assert workspace.chats[0]["messages"][-1]["content"] == "Which port?"


async def test_the_wire_tells_usage_reasoning_and_how_it_ended() -> None:
    with (
        FakeWorkspace(
            [Reasoning("Hm."), Blocks({"type": "text", "text": "Hi."}), Usage(5, 4), Finish("length")]
        ) as here,
        rest(here) as client,
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
        answer = client.post("/serving-endpoints/chat/completions", json=body).json()
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "length"
    assert [part["type"] for part in choice["message"]["content"]] == ["reasoning", "text"]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


async def test_a_reply_waits_for_the_test_and_ends_when_its_client_leaves() -> None:
    reached, until = threading.Event(), threading.Event()
    with FakeWorkspace(["Now", Wait(until, reached), "."], [Wait()]) as workspace:
        chunks = chat(workspace).astream("?")
        assert (await anext(chunks)).text == "Now"
        await asyncio.to_thread(reached.wait)
        until.set()
        assert "." in [chunk.text async for chunk in chunks]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(chat(workspace).ainvoke("?"), 0.2)


async def test_an_exhausted_script_is_told_to_the_caller() -> None:
    with FakeWorkspace("One.") as workspace:
        model = chat(workspace)
        model.invoke("?")
        with pytest.raises(openai.BadRequestError, match=r"the script has 1 reply.*user message 'Again\?'"):
            model.invoke("Again?")


async def test_a_search_finds_what_shares_words_and_obeys_filters(workspace: FakeWorkspace) -> None:
    index = principal(workspace).vector_search_indexes
    columns = ["chunk_id", "text", "title", "doc_uri"]
    found = index.query_index(INDEX, columns=columns, query_text="Which port is it?", num_results=1)
    assert found.result is not None
    assert found.result.data_array is not None
    assert found.result.data_array[0][:4] == ["chunk-1", "The port is 8000.", "Document 1", "doc-1.md"]
    with rest(workspace) as client:
        address = f"/api/2.0/vector-search/indexes/{INDEX}/query"
        body = {"columns": ["title"], "query_text": "is", "filters_json": '{"team": "ui"}'}
        answer = client.post(address, json=body).json()
        assert [row[0] for row in answer["result"]["data_array"]] == ["Colors"]
        assert client.post(address, json={"columns": ["nope"]}).status_code == 400
        assert client.get("/api/2.0/vector-search/indexes/main.docs.other").status_code == 404


async def test_texts_that_share_words_have_near_vectors(workspace: FakeWorkspace) -> None:
    texts = ["the red pump", "a red pump", "wholly different"]
    with rest(workspace) as client:
        answer = client.post("/serving-endpoints/embedder/invocations", json={"input": texts}).json()
    one, two, three = (row["embedding"] for row in answer["data"])
    near, far = (sum(a * b for a, b in zip(one, other, strict=True)) for other in (two, three))
    assert near > far


async def test_faults_come_as_often_as_they_were_told(workspace: FakeWorkspace) -> None:
    me = "/api/2.0/preview/scim/v2/Me"
    chats = "/serving-endpoints/chat/completions"
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    with rest(workspace) as client:
        workspace.fail("/scim/", 503, headers={"retry-after": "1"})
        refused = client.get(me)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get(me).status_code == 200
        workspace.reply("/scim/", b"not ", b"json", status=200)
        assert client.get(me).text == "not json"
        workspace.hang_up("/chat/completions", after=1)
        with pytest.raises(httpx.RemoteProtocolError), client.stream("POST", chats, json=body) as response:
            response.read()
        stall = workspace.stall("/scim/")
        with pytest.raises(httpx.ReadTimeout):
            client.get(me, timeout=0.2)
        assert await asyncio.to_thread(stall.left.wait, 5)
    workspace.forget()
    assert workspace.requests == []
