"""The end of the app's log, told when a deployment fails."""

from typing import Any

import pytest
from tests.databricks.shop import Shop
from tests.standin.apps import FAILS

LOG = [
    {"source": "APP", "timestamp": 3.5, "message": "  File graph.py, line 7\nImportError: no module named shop\n"},
    {"source": "SYSTEM", "timestamp": 1, "message": "Installing dependencies."},
    {"source": "APP", "timestamp": 2, "message": "token dapi" + "0123456789abcdef" * 2 + " \x1b]0;title\x07 read"},
]


@pytest.mark.parametrize("fails", ["at the platform", "at the question"])
def test_a_deployment_that_fails_tells_the_end_of_the_apps_log_before_it_goes_back(shop: Shop, fails: str) -> None:
    shop.deploy()
    shop.write(a_py="graph = 2\n")
    shop.app.log = LOG
    if fails == "at the platform":
        shop.apps.outcomes[:] = ["FAILED"]
    else:
        shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    began = next(at for at, line in enumerate(shop.said) if line.startswith("the end of the app's log ("))
    assert shop.said[began + 1 : began + 5] == [
        "  | Installing dependencies.",
        "  | token [redacted Databricks token]  ]0;title  read",
        "  |   File graph.py, line 7",
        "  | ImportError: no module named shop",
    ]
    assert "0123456789abcdef" not in "".join(shop.said)
    assert shop.said[began + 5] == "rolling back to deployment d1"


@pytest.mark.parametrize("log", [None, "no list", [1, {"message": ""}], {"error": "x"}])
def test_a_log_that_cannot_be_read_is_pointed_at(shop: Shop, log: Any) -> None:
    shop.app.log = log
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    assert any("run `databricks apps logs shop-dev`" in line for line in shop.said)


def test_a_deployment_that_works_reads_no_log(shop: Shop) -> None:
    shop.app.log = LOG
    assert shop.deploy() == 0
    assert not any("the app's log" in line for line in shop.said)


def test_a_long_log_is_told_by_its_end(shop: Shop) -> None:
    shop.app.log = [{"timestamp": at, "message": f"line {at} " + "x" * 1000} for at in range(3000)]
    shop.app.answers[:] = [FAILS]
    assert shop.deploy() == 1
    told = [line for line in shop.said if line.startswith("  | ")]
    assert len(told) == 25
    assert told[-1].startswith("  | line 2999 xxx")
    assert max(map(len, told)) < 310
