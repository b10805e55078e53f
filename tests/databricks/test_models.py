"""Models behind serving endpoints, through the real client over real sockets."""

import pytest
from tests.standin.server import USAGE, StandIn, delta

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
