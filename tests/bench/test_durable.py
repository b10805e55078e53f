import pytest
from bench.durable import BATCHES, Amount, Durable, durable_goals, durable_report

AMOUNT = Amount(seconds=0, starts=1, kills=1, rounds=1)


def _store(*, shared: bool, events: float = 5_000, resumable: float = 1.05, takeover: float = 4.0) -> Durable:
    label = "PostgreSQL" if shared else "SQLite"
    made = Durable(label, {}, lambda: pytest.fail("it is measured already"), shared=shared)
    made.rates = dict.fromkeys(BATCHES, (events, 0.0))
    made.resumable, made.takeovers = resumable, [takeover - 1, takeover]
    return made


def test_only_a_shared_store_is_held_to_the_time_of_a_takeover() -> None:
    # The successor of a process on SQLite begins when somebody starts it.
    assert list(durable_goals([_store(shared=False, takeover=9), _store(shared=True, takeover=5.5)])) == [
        "pass  SQLite, events/s in batches of 20 ≥ 4,000: 5,000.00",
        "pass  SQLite, CPU of a stream with committed events ≤ 1.1 x that of a stored one: 1.05 x",
        "FAIL  PostgreSQL, a run goes on ≤ 5 s after the kill: 5.50 s",
    ]


def test_a_store_that_failed_says_why_and_has_no_goals() -> None:
    broken = _store(shared=True)
    broken.broken, broken.takeovers = "ServerBroken: it ended", []
    report = durable_report([broken], amount=AMOUNT)
    assert "PostgreSQL: no figures: ServerBroken: it ended" in report
    assert "pass" not in report
    assert "FAIL" not in report
