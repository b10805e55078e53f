"""Models behind serving endpoints, through the real client over real sockets."""

import pytest
from tests.standin.server import StandIn

from graph_agent.models import chat_model

pytestmark = pytest.mark.anyio


async def test_a_model_of_model_serving_answers_as_the_app(standing: StandIn) -> None:
    said = await chat_model("databricks:local-model").ainvoke("What colour?")
    assert said.text == "It is blue."
    (call,) = standing.calls("/serving-endpoints/")
    assert call.token and not call.token.startswith("user-")
