"""The gate: what shuts it, with the metric's name, and what does not."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.evaluating.test_scorers import answered, asked, call

from graph_agent.evaluating.baseline import Baseline, Noise, make_baseline, read_baseline
from graph_agent.evaluating.bootstrap import lower_bound, upper_bound
from graph_agent.evaluating.errors import BadBaseline
from graph_agent.evaluating.gate import Verdict, compare
from graph_agent.evaluating.junit import junit
from graph_agent.evaluating.report import markdown, terminal
from graph_agent.evaluating.row_reasons import reasons
from graph_agent.evaluating.scorers import scorers
from graph_agent.evaluating.scores import RowScore, Scores, scored

RUN = {"dataset": "smoke", "model": "scripted", "graph": None, "place": "in process", "version": "v"}


Columns = dict[str, list[float | None]]


def scores(values: Columns, **more: Any) -> Scores:
    """Rows `r0`, `r1`, … with these figures."""
    count = len(next(iter(values.values())))
    rows = {
        f"r{n}": RowScore(digest=f"d{n}", tags={"kind": "even" if n % 2 == 0 else "odd"}, values=figures(values, n))
        for n in range(count)
    }
    return Scores(run=RUN, rows=rows, **more)


def figures(values: Columns, n: int) -> dict[str, float | None]:
    return {name: column[n] for name, column in values.items()}


def baseline(values: Columns, noise: Noise = "exact") -> Baseline:
    return make_baseline(scores(values), noise=noise, before=None)


def verdict(now: Columns, before: Columns, noise: Noise = "exact") -> Verdict:
    return compare(scores(now), baseline(before, noise))


def kinds(found: Verdict) -> set[tuple[str, str]]:
    return {(failure.metric, failure.kind) for failure in found.failures}


GOOD: Columns = {"facts_covered": [1.0] * 10, "mrr": [0.5] * 10, "no_leak": [1.0] * 10}


def test_the_same_figures_pass_and_better_ones_too() -> None:
    assert compare(scores(GOOD), baseline(GOOD)).passed
    better = compare(scores(GOOD | {"mrr": [1.0] * 10}), baseline(GOOD))
    assert better.passed
    assert better.fixed == {f"r{n}": ["mrr"] for n in range(10)}


def test_an_exact_baseline_allows_no_drop_and_names_metric_and_rows() -> None:
    found = verdict(GOOD | {"facts_covered": [1.0] * 9 + [0.5]}, GOOD)
    assert found.failed_metrics == ["facts_covered"]
    assert found.failures[0].rows == ("r9",)
    assert found.regressed == {"r9": ["facts_covered"]}


def test_the_order_of_passages_may_move_a_little() -> None:
    assert verdict(GOOD | {"mrr": [0.5] * 9 + [0.2]}, GOOD).passed
    assert kinds(verdict(GOOD | {"mrr": [0.3] * 10}, GOOD)) == {("mrr", "drop")}


def test_a_metric_that_is_missing_shuts_the_gate() -> None:
    without = {name: column for name, column in GOOD.items() if name != "mrr"}
    assert kinds(verdict(without, GOOD)) == {("mrr", "missing")}


def test_a_row_that_has_no_value_any_more_shuts_the_gate() -> None:
    found = verdict(GOOD | {"facts_covered": [None] + [1.0] * 9}, GOOD)
    assert kinds(found) == {("facts_covered", "missing")}
    assert found.failures[0].rows == ("r0",)


def test_tokens_that_are_not_reported_any_more_shut_the_gate() -> None:
    before: Columns = GOOD | {"input_tokens": [800.0] * 10, "seconds": [1.0] * 10}
    now: Columns = before | {"input_tokens": [800.0] * 9 + [None]}
    assert kinds(verdict(now, before)) == {("input_tokens", "missing")}
    assert verdict(before, before).passed


def test_a_row_that_a_judge_is_not_for_any_more_lacks_nothing() -> None:
    before: Columns = GOOD | {"judge_groundedness": [1.0] * 10}
    now = scores(GOOD | {"judge_groundedness": [1.0] * 9 + [None]})
    assert not compare(now, baseline(before, "interval")).passed
    now.rows["r9"].notes["judge_groundedness"] = "nothing was retrieved"
    assert compare(now, baseline(before, "interval")).passed


def test_a_service_that_fails_now_and_then_shuts_the_gate_with_noise_too() -> None:
    before: Columns = {"no_error": [1.0] * 90, "facts_covered": [1.0] * 90}
    for failed, passes in ((2, True), (3, False), (15, False)):
        values: list[float | None] = [1.0] * (90 - failed) + [0.0] * failed
        assert verdict(before | {"no_error": values}, before, "interval").passed is passes


def test_a_conversation_that_failed_shuts_the_gate_and_what_was_said_of_it_does_not() -> None:
    one = {"goal": "g", "row": "r1", "turns": [], "values": {"conversation_calm": 0.0}, "errors": {}, "trace_ids": []}
    assert compare(scores(GOOD, conversations=[one]), baseline(GOOD)).passed
    failed = one | {"errors": {"agent": "ConnectError"}}
    (failure,) = compare(scores(GOOD, conversations=[one, failed]), baseline(GOOD)).failures
    assert (failure.metric, failure.message) == ("conversations", "failed: r1 (agent)")


def test_a_metric_that_is_not_in_the_baseline_shuts_the_gate() -> None:
    assert kinds(verdict(GOOD | {"judge": [1.0] * 10}, GOOD)) == {("judge", "new")}


def test_missing_extra_and_changed_rows_shut_the_gate() -> None:
    before = baseline(GOOD)
    assert kinds(compare(scores(GOOD, missing=["r10"]), before)) == {("rows", "rows")}
    assert kinds(compare(scores(GOOD, extra=["r10"]), before)) == {("rows", "rows")}
    short = {name: column[:9] for name, column in GOOD.items()}
    assert "r9" in compare(scores(short), before).failures[0].message
    long = {name: [*column, 1.0] for name, column in GOOD.items()}
    assert "r10" in compare(scores(long), before).failures[0].message
    changed = scores(GOOD)
    changed.rows["r3"].digest = "other"
    assert compare(changed, before).failures[0].rows == ("r3",)


def test_a_sample_leaves_the_baselines_other_rows_out() -> None:
    half = {name: column[:5] for name, column in GOOD.items()}
    assert compare(scores(half), baseline(GOOD), sample=True).passed
    assert not compare(scores(half), baseline(GOOD)).passed
    worse = half | {"facts_covered": [0.0] * 5}
    assert "facts_covered" in compare(scores(worse), baseline(GOOD), sample=True).failed_metrics


def test_a_sample_is_compared_with_the_baseline_of_its_own_rows() -> None:
    before: Columns = {"facts_covered": [0.0] * 5 + [1.0] * 5}
    found = compare(scores({"facts_covered": [0.0] * 5}), baseline(before, "interval"), sample=True)
    assert found.baseline == {"facts_covered": 0.0}
    assert [failure for failure in found.failures if failure.kind == "drop"] == []


def test_a_scorer_that_raises_is_an_error_of_its_row_and_shuts_the_gate() -> None:
    def broken(row: Any, record: Any) -> dict[str, float]:
        raise KeyError(row.id)

    now = scored([asked()], [answered()], {"broken": broken}, run=RUN)
    assert now.rows["one"].errors == {"broken": "KeyError"}
    found = compare(now, make_baseline(scored([asked()], [answered()], {}, run=RUN), noise="exact", before=None))
    assert kinds(found) == {("scorer broken", "scorer")}


def test_floors_and_ceilings_hold_whatever_the_baseline_was() -> None:
    before: Columns = {"no_leak": [1.0] * 10, "seconds": [2.0] * 10}
    assert ("no_leak", "floor") in kinds(verdict(before | {"no_leak": [1.0] * 9 + [0.0]}, before, "interval"))
    assert kinds(verdict(before | {"seconds": [70.0] * 10}, before)) == {
        ("seconds_p50", "ceiling"),
        ("seconds_p95", "ceiling"),
    }
    assert verdict(before | {"seconds": [5.0] * 10}, before).passed


def test_a_baseline_of_runs_that_all_failed_leaves_no_ceiling_that_nothing_passes() -> None:
    failed: Columns = {"output_tokens": [0.0] * 10}
    worked: Columns = {"output_tokens": [50.0] * 10}
    assert verdict(worked, failed).passed
    again = make_baseline(scores(worked), noise="exact", before=baseline(failed))
    assert again.metrics["output_tokens"].ceiling == 150


def test_over_a_sample_no_ceiling_of_times_and_tokens_holds() -> None:
    before = baseline(GOOD | {"seconds": [1.0] * 10}, "interval")
    slow = scores(GOOD | {"seconds": [1.0] * 9 + [900.0]})
    assert kinds(compare(slow, before)) == {("seconds_p95", "ceiling")}
    assert compare(slow, before, sample=True).passed


@pytest.mark.parametrize(
    ("worse", "better", "passes"),
    [(0, 0, True), (2, 0, True), (4, 4, True), (10, 0, False), (15, 3, False)],
)
def test_with_noise_a_drop_must_be_larger_than_chance(worse: int, better: int, passes: bool) -> None:
    before: list[float | None] = [1.0] * 22 + [0.0] * 8
    now: list[float | None] = [0.0] * worse + [1.0] * (22 - worse) + [1.0] * better + [0.0] * (8 - better)
    found = verdict({"facts_covered": now}, {"facts_covered": before}, "interval")
    assert ("facts_covered", "drop") not in kinds(found) if passes else ("facts_covered", "drop") in kinds(found)


def test_one_row_is_no_proof_and_four_of_four_are() -> None:
    assert lower_bound([1.0]) == 0
    assert lower_bound([1.0] * 4) > 0.1
    assert upper_bound([0.0] * 4) < 0.75
    assert upper_bound([1.0, 1.0, 0.0, 1.0]) == 1


def test_the_same_scores_give_the_same_verdict() -> None:
    now = GOOD | {"facts_covered": [1.0, 0.0] * 5}
    assert verdict(now, GOOD, "interval").json() == verdict(now, GOOD, "interval").json()


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    whole = baseline(GOOD | {"seconds": [1.0] * 10})
    path = tmp_path / "b.json"
    path.write_text(whole.text())
    assert read_baseline(path) == whole
    # A diff shows which rows and metrics changed.
    assert len(path.read_text().splitlines()) > len(whole.rows) + len(whole.metrics)
    assert "seconds" not in whole.rows["r0"]["values"]


def test_a_new_baseline_keeps_the_limits_of_the_old_one() -> None:
    strict = baseline(GOOD)
    worse = make_baseline(scores(GOOD | {"no_leak": [0.0] * 10}), noise="exact", before=strict)
    assert worse.metrics["no_leak"].value == 0
    assert worse.metrics["no_leak"].floor == 1
    assert kinds(compare(scores(GOOD | {"no_leak": [0.0] * 10}), worse)) == {("no_leak", "floor")}


@pytest.mark.parametrize("text", [None, "{", "{}", '{"metrics": {"a": {"size": 1}}}'])
def test_a_baseline_that_is_none_says_what_to_do(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "b.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadBaseline, match="graph-agent eval baseline"):
        read_baseline(path)


def test_reports_name_what_failed() -> None:
    now, before = scores(GOOD | {"facts_covered": [0.0] * 10}), baseline(GOOD)
    found = compare(now, before)
    assert "FAIL facts_covered" in terminal(now, found, before)
    assert "The gate failed: facts_covered." in terminal(now, found, before)
    text = markdown(now, found, before)
    assert "| FAIL | facts_covered | 0.000 | 1.000 | >= 0.750 | 10 |" in text
    assert "| kind | even | odd |" in text
    assert "The gate passed." in markdown(scores(GOOD), compare(scores(GOOD), before), before)


def test_the_table_shows_the_rule_that_a_metric_breaks() -> None:
    before = baseline(GOOD)
    for now, limit in (
        (GOOD | {"facts_covered": [1.0] * 8 + [0.0] * 2}, "no drop"),
        (GOOD | {"facts_covered": [0.0] * 10}, ">= 0.750"),
        (GOOD | {"facts_covered": [None] + [1.0] * 9}, "every row"),
        (GOOD | {"extra": [1.0] * 10}, "in baseline"),
    ):
        (line,) = [
            one
            for one in markdown(scores(now), compare(scores(now), before), before).splitlines()
            if one.startswith("| FAIL")
        ]
        assert f"| {limit} |" in line
    moved = scores(GOOD | {"mrr": [0.3] * 10})
    allowed = before.metrics["mrr"].max_drop
    assert allowed
    assert f"drop <= {allowed:g}" in terminal(moved, compare(moved, before), before)


def test_each_row_that_got_worse_or_fails_has_its_first_reason() -> None:
    one = asked(facts=["8000", ["port", "door"]], tool_calls=[{"name": "calculator", "arguments": {}}])
    for record, reason in (
        (answered("Port 80.", calls=[call()]), 'the answer lacks "8000"'),
        (answered(calls=[call("send")]), "calls: expected calculator; made send"),
        (answered("", status="failed", error={"code": "busy", "message": "Ask\nlater."}), "failed: busy Ask later."),
        (answered(problems=["the turn asked for no approval"]), "the turn asked for no approval"),
        (answered(problems=["x" * 1_000]), "x" * 159 + "…"),
    ):
        now = scored([one], [record], scorers(), run=RUN)
        why = reasons(now, [one], [record])
        assert why == {one.id: reason}
        assert f"\n  {one.id}: {reason}\n" in terminal(now, None, None, reasons=why)
        right = answered("Port 8000.", calls=[call()])
        before = make_baseline(scored([one], [right], scorers(), run=RUN), noise="exact", before=None)
        assert f"\n  {one.id}: {reason}\n" in terminal(now, compare(now, before), before, reasons=why)
        assert reasons(scored([one], [right], scorers(), run=RUN), [one], [right]) == {}


def test_without_a_baseline_the_rows_that_fail_an_expectation_are_named() -> None:
    now = scores({"facts_covered": [1.0, 0.5, 1.0], "declined_when_must": [None, None, 0.0], "mrr": [0.5, 0.5, 0.5]})
    for text in (terminal(now, None, None), markdown(now, None, None)):
        assert "Failing: r1 (facts_covered); r2 (declined_when_must)\n" in text
        assert "declines_with" in text
    passing = terminal(scores(GOOD), None, None)
    assert "Failing" not in passing
    assert "declines_with" not in passing
    many = terminal(scores({"facts_covered": [0.0] * 30}), None, None)
    assert "r19 (facts_covered) and 10 more\n" in many
    assert "declines_with" not in many


def test_junit_has_a_case_for_each_metric_and_failures_where_the_gate_is_shut() -> None:
    now, before = scores(GOOD | {"facts_covered": [0.0] * 10}, missing=["r10"]), baseline(GOOD)
    (suite,) = ElementTree.fromstring(junit(now, compare(now, before)))
    cases = {case.get("name"): case.find("failure") for case in suite}
    assert set(cases) == {"rows", "facts_covered", "mrr", "no_leak"}
    assert [name for name, failure in cases.items() if failure is not None] == ["rows", "facts_covered"]
    assert (suite.get("tests"), suite.get("failures")) == ("4", "2")
