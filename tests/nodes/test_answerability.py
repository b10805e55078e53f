"""Whether passages answer a question, by what the model says and how sure it is."""

import math
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, StateGraph

from graph_agent import AgentState, chat_model, make_planner, make_retriever
from graph_agent.app_context import AppContext
from graph_agent.errors import InvalidRequest, LocalModelFailed, ModelFailed
from graph_agent.evaluating.hashing_embedder import HashingEmbedder
from graph_agent.local.model.chunks import ChunkWriter
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.nodes.planner import requested_nodes
from graph_agent.settings import Settings
from graph_agent.testing import Call, ScriptedChatModel, on_loopback

pytestmark = pytest.mark.anyio

SEARCH = Call("search_docs", {"query": "port"}, id="c1")
ANSWER = "It is 8000."
DECLINED = "I do not know."


class Shelf:
    """Finds one passage with a score, or without one."""

    name = "search_docs"

    def __init__(self, score: float | None) -> None:
        self._score = score

    async def search(self, query: str) -> list[tuple[Document, float | None]]:
        return [(Document("The port is 8000.", metadata={"chunk_id": "p"}), self._score)]


def saying(word: str, **likeliest: float) -> AIMessage:
    """A reply of the check whose first token had these probabilities."""
    told = [{"token": token, "logprob": math.log(part), "bytes": None} for token, part in likeliest.items()]
    return telling(word, {"content": [{"token": word, "logprob": -0.1, "top_logprobs": told}]})


def telling(word: str, logprobs: Any) -> AIMessage:
    return AIMessage(word, response_metadata={"logprobs": logprobs})


class Agent:
    """Searches, and answers what the check lets it answer."""

    def __init__(self, check: BaseChatModel, score: float | None = 0.5, *, said: Sequence[Any] = (ANSWER,)) -> None:
        builder: StateGraph[Any, Any, Any, Any] = StateGraph(AgentState)
        planner = make_planner(
            model=ScriptedChatModel(SEARCH, *said),
            tools=[],
            prompt="Search.",
            no_answer_text=DECLINED,
            answerability_model=check,
            answer_prompt="Answer.",
        )
        builder.add_node("planner", planner)
        builder.add_node("retriever", make_retriever(Shelf(score)))
        builder.add_edge(START, "planner")
        builder.add_conditional_edges("planner", requested_nodes(retrieval="search_docs"))
        builder.add_edge("retriever", "planner")
        self._graph = builder.compile()

    async def answers(self) -> bool:
        state = await self._graph.ainvoke({"messages": [HumanMessage("Which port?")]})
        return str(state["messages"][-1].text) != DECLINED


@pytest.mark.parametrize(
    ("reply", "score", "answered"),
    [
        # An unsure yes is not enough, if no passage fits the question well.
        (saying("Yes", Yes=0.65, No=0.35), 0.1, True),
        (saying("Yes", Yes=0.55, No=0.45), 0.1, False),
        (saying("Yes", Yes=0.55, No=0.45), 0.5, False),
        (saying("Yes", Yes=0.55, No=0.45), 0.7, True),
        (saying("No", Yes=0.45, No=0.55), 0.9, True),
        (saying("No", Yes=0.3, No=0.7), 1.0, False),
        # Other spellings count, and other words do not.
        (saying("Yes", **{"Yes": 0.3, " yes": 0.3, "YES": 0.1, "No": 0.2, "Maybe": 0.1}), 0.2, True),
        # Without scores, the likelier word decides.
        (saying("Yes", Yes=0.51, No=0.49), None, True),
        (saying("No", Yes=0.49, No=0.51), None, False),
        # Scores on another scale, such as of BM25 or distances, say nothing either.
        (saying("No", Yes=0.1, No=0.9), 17.5, False),
        (saying("No", Yes=0.1, No=0.9), math.inf, False),
        # Probabilities of anything else, or in a form that nobody knows, say nothing. Then the words decide.
        (saying("Perhaps", Perhaps=0.99), 0.0, True),
        (telling("no", {"content": [{"top_logprobs": [{"token": "yes"}, 1]}]}), 0.9, False),
        (telling("no", {"content": []}), 0.9, False),
        (telling("Yes.", "x"), 0.0, True),
    ],
)
async def test_how_sure_the_model_is_and_how_well_the_passages_fit_decide_together(
    reply: AIMessage, score: float | None, answered: bool
) -> None:
    assert await Agent(ScriptedChatModel(reply), score).answers() is answered


class Endpoint:
    """Says `no`, after these failures for requests with and without `logprobs`. The failure is for the first ones, if
    `times` says for how many."""

    def __init__(
        self, with_logprobs: Exception | None = None, without: Exception | None = None, times: int | None = None
    ) -> None:
        self._failures = {True: with_logprobs, False: without}
        self._times = times
        self.asked: list[bool] = []

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        self.asked.append(bool(body.get("logprobs")))
        failure = self._failures[self.asked[-1]]
        if failure is not None and (self._times is None or len(self.asked) <= self._times):
            raise failure
        writer = ChunkWriter(model="m")
        yield writer.start()
        told = [{"token": token, "logprob": math.log(0.5), "bytes": [*token.encode()]} for token in ("no", "Yes")]
        yield writer.text("no", [{**told[0], "top_logprobs": told}] if self.asked[-1] else None)
        yield writer.finish("stop")


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Endpoint, AppContext]]:
    endpoint, credentials = Endpoint(*request.param), Credentials.generate()
    app = create_workspace(endpoint, {}, embedder=HashingEmbedder(), credentials=credentials)
    with on_loopback(app) as url:
        environment = {
            "DATABRICKS_HOST": url,
            "DATABRICKS_CLIENT_ID": credentials.client_id,
            "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
            "DATABRICKS_CONFIG_FILE": os.devnull,
        }
        yield endpoint, AppContext(Settings(), environment)


REFUSAL = InvalidRequest("no such parameter", param="logprobs")
BUSY = LocalModelFailed("the local model is busy")


@pytest.mark.parametrize(
    ("served", "asked"),
    [((None, None), [True, True]), ((REFUSAL, None), [True, False, False])],
    indirect=["served"],
    ids=["an endpoint that tells them", "one that refuses them"],
)
async def test_an_endpoint_is_asked_for_probabilities_until_it_refuses_them(
    served: tuple[Endpoint, AppContext], asked: list[bool]
) -> None:
    endpoint, app = served
    with app.entered():
        agent = Agent(chat_model("databricks:local-model", max_retries=0), said=[SEARCH])
        for _ in range(2):
            assert not await agent.answers()
        await app.aclose()
    assert endpoint.asked == asked


@pytest.mark.parametrize("served", [(None, None)], indirect=True)
async def test_what_the_endpoint_tells_of_its_word_counts_and_not_the_word(served: tuple[Endpoint, AppContext]) -> None:
    _, app = served
    with app.entered():
        assert await Agent(chat_model("databricks:local-model", max_retries=0), 0.9).answers()
        await app.aclose()


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ((BUSY, None, 1), [True, False, True, True, True, True]),
        # It answers every request that it does not know so.
        ((BUSY, None), [True, False, True, False, True, False, False, False]),
    ],
    indirect=["served"],
    ids=["once", "always"],
)
async def test_an_endpoint_that_fails_once_is_asked_for_probabilities_again(
    served: tuple[Endpoint, AppContext], asked: list[bool]
) -> None:
    endpoint, app = served
    with app.entered():
        agent = Agent(chat_model("databricks:local-model", max_retries=0), said=[SEARCH] * 4)
        for _ in range(5):
            assert not await agent.answers()
        await app.aclose()
    assert endpoint.asked == asked


@pytest.mark.parametrize("served", [(BUSY, BUSY)], indirect=True)
async def test_an_endpoint_that_fails_either_way_fails_the_run(served: tuple[Endpoint, AppContext]) -> None:
    _, app = served
    with app.entered():
        with pytest.raises(ModelFailed):
            await Agent(chat_model("databricks:local-model", max_retries=0)).answers()
        await app.aclose()


async def test_a_model_of_ones_own_is_asked_for_nothing_that_it_may_not_know() -> None:
    model = ScriptedChatModel("no")
    await Agent(model).answers()
    assert model.requests[0].options == {"max_tokens": 4}
