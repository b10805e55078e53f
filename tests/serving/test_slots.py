"""A slot is given back on every way that a request can end."""

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

MISFITS: dict[str, dict[str, Any]] = {
    "custom-inputs": {"model": "upstream", "input": "Hi", "custom_inputs": {"node": "async"}},
    "custom-inputs-large": {"model": "upstream", "input": "Hi" * 5000, "custom_inputs": {"node": "async"}},
    "unknown-graph": {"model": "nobody", "input": "Hi"},
    "no-input": {"model": "plain", "input": []},
    "large-and-wrong": {"model": "plain", "input": [{"role": "user", "content": "x" * 100_000}, {"role": "nobody"}]},
    "failing": {"model": "failing", "input": "Hi", "custom_inputs": {"fail": "before"}},
}


@pytest.mark.parametrize("kind", MISFITS)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "reply"])
async def test_requests_that_are_refused_or_fail_do_not_fill_the_service(
    serve: Callable[..., Any], kind: str, stream: bool
) -> None:
    with serve(max_runs=2) as service:
        async with service.client() as client:
            for _ in range(4):
                answer = await client.post("/v1/responses", json=MISFITS[kind] | {"stream": stream})
                assert answer.status_code != 429
            answer = await client.post("/responses", json={"model": "plain", "input": "Hi"})
    assert answer.json()["status"] == "completed"
