"""A malformed request that would be stored is a 4xx, too, and never an error of ours."""

import pytest
from tests.protocol.malformed import MALFORMED
from tests.runs.conversing import ANN, Conversing, conversing

from graph_agent.errors import RequestError
from graph_agent.protocol.requests import parse_request

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


SERVED = (
    "previous_response_id",
    "conversation by id",
    "conversation by object",
    "an item_reference",
    "an approval that is also a denial",
)
"""Refused in another place: what they name is looked up first, and does not exist."""


async def planned(server: Conversing, body: bytes) -> None:
    invocation = parse_request(body, graphs=["assistant"], stores=True, stored_by_default=True)
    await server.continuing.plan(ANN, invocation, graph="g")


async def test_every_malformed_body_is_refused_where_requests_are_stored() -> None:
    async with conversing() as server:
        for name, body, param in MALFORMED:
            with pytest.raises(RequestError) as refused:
                await planned(server, body)
            if name not in SERVED:
                assert refused.value.param == param, name
