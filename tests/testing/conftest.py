import pytest
from tests.databricks.conftest import closed_clients

__all__ = ["closed_clients"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"
