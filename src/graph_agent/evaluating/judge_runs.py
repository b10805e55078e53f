"""Asks MLflow's judges about recorded answers, and stores their verdicts in MLflow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from graph_agent.evaluating.errors import EvalError
from graph_agent.evaluating.judges import Judge, Judged, error_name, expectations_of, figure, judges
from graph_agent.evaluating.records import Record
from graph_agent.evaluating.rows import Row, dataset_digest
from graph_agent.evaluating.scores import Scores
from graph_agent.evaluating.tracking import traces_of, tracked
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.settings import Settings

LOCAL_JUDGE = "local"


def check_judge(name: str) -> None:
    """Check that a judge can be reached, before an hour is spent on answers for it.

    Raises:
        EvalError: the name is not that of a model, or nothing answers there.
    """
    provider, colon, model = name.partition(":/")
    if name != LOCAL_JUDGE and not (provider and colon and model.strip("/")):
        raise EvalError(f"{name!r} is not a judge; give --judge as openai:/model, databricks:/endpoint or local")
    if provider == "openai":
        _reachable()


@contextmanager
def judge_model(name: str) -> Iterator[str]:
    """Yield the judge's name in MLflow's format. For `local`, the local model is served while the block runs.

    Raises:
        EvalError: the name is not that of a model, or nothing answers there.
    """
    if name == LOCAL_JUDGE:
        from graph_agent.evaluating.process_environment import workspace_environment
        from graph_agent.evaluating.targets import Target, workspace

        with workspace(Target(model="local")) as (_, variables), workspace_environment(variables):
            yield "databricks:/local-model"
        return
    check_judge(name)
    yield name


def judge_rows(
    rows: Sequence[Row], records: Sequence[Record], scores: Scores, *, judge: str, settings: Settings
) -> None:
    """Add the verdicts of all judges to the scores, and create a run in MLflow with the traces and the dataset.

    Raises:
        EvalError: the judge or MLflow cannot be reached.
    """
    records = [record for record in records if record.id in scores.rows]
    by_id, asked = {row.id: row for row in rows}, {record.id: record for record in records}
    found = {name: Judged() for name in asked}
    with judge_model(judge) as model, tracked(settings, judge_environment(judge)) as experiment:
        with IMPORT_LOCK:
            import mlflow
            import mlflow.genai
        traces = traces_of([record.last.trace_id for record in records if record.last.trace_id])
        judged = [_judging(one, model, by_id, asked, found) for one in judges()]
        data = [_data(by_id[one.id], one, traces) for one in records]
        run_name = f"eval {scores.run['dataset']} {scores.run['model']}"
        with mlflow.start_run(experiment_id=experiment, run_name=run_name) as run:
            mlflow.log_params({**{key: str(value) for key, value in scores.run.items()}, "judge": model})
            mlflow.genai.evaluate(data=data, scorers=[_figures(scores), *judged])
            add(scores, found)
            mlflow.log_metrics({name: value for name, (value, _) in scores.metrics().items()})
            failed = [name for row in scores.rows.values() for name in row.errors]
            mlflow.log_metrics({f"{name}_errors": failed.count(name) for name in set(failed)})
            scores.run["mlflow_run"], scores.run["judge"] = run.info.run_id, model
            # Last, because a store without datasets must not cost the verdicts above.
            scores.run["mlflow_dataset"] = _registered(rows, scores, experiment, run.info.run_id)


def add(scores: Scores, found: Mapping[str, Judged]) -> None:
    """Add the judges' figures to the scorers'."""
    for name, judged in found.items():
        row = scores.rows[name]
        row.values.update(judged.values)
        row.errors.update(judged.errors)
        row.notes.update(judged.notes)


def _judging(
    judge: Judge, model: str, rows: Mapping[str, Row], records: Mapping[str, Record], found: Mapping[str, Judged]
) -> Any:
    """Return a scorer for MLflow that asks the judge about the rows that it applies to. Results go to `found`."""
    from mlflow.entities import Feedback
    from mlflow.genai.scorers import scorer

    verdicts = judge.made(model)

    @scorer(name=judge.name)
    def run(inputs: Any, outputs: Any, expectations: Any, trace: Any) -> Any:
        given = {"inputs": inputs, "outputs": outputs, "expectations": expectations, "trace": trace}
        name = expectations["row"]
        into = found[name]
        try:
            passages = any(span.span_type == "RETRIEVER" for span in trace.data.spans)
            unasked = judge.skips(rows[name], records[name], passages=passages)
            if unasked is not None:
                into.values[judge.name], into.notes[judge.name] = unasked
                return None if unasked[0] is None else Feedback(name=judge.name, value=unasked[0], rationale=unasked[1])
            said = verdicts(**{key: given[key] for key in judge.takes})
            feedbacks = said if isinstance(said, list) else [said]
            into.values[judge.name] = figure(feedbacks, judge.part)
            return feedbacks
        except Exception as error:
            into.values[judge.name], into.errors[judge.name] = None, error_name(error)
            raise

    return run


def _figures(scores: Scores) -> Any:
    """Return a scorer for MLflow that adds the figures of our scorers to the traces as assessments."""
    from mlflow.entities import Feedback
    from mlflow.genai.scorers import scorer

    @scorer(name="figures")
    def figures(expectations: Any) -> Any:
        values = scores.rows[expectations["row"]].values.items()
        return [Feedback(name=name, value=value) for name, value in list(values) if value is not None]

    return figures


def _data(row: Row, record: Record, traces: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row in MLflow's format: the conversation of the last request, the answer, and its trace."""
    conversation = [dict(item) for item in row.input]
    for before, turn in zip(record.turns, record.turns[1:], strict=False):
        conversation.append({"role": "assistant", "content": before.answer})
        conversation.append({"role": "user", "content": turn.question})
    inputs, answer = {"input": conversation}, record.last.answer
    # The agent's own trace has the passages, which some judges need.
    trace = traces.get(record.last.trace_id or "") or _trace(inputs, answer)
    tags = {"row": row.id, **row.tags}
    return {"inputs": inputs, "outputs": answer, "expectations": expectations_of(row), "trace": trace, "tags": tags}


def _trace(inputs: Any, answer: str) -> Any:
    """Create a trace of the recorded answer. Assessments need a trace, and the agent's own could not be read."""
    import mlflow

    with mlflow.start_span(name="record", span_type="AGENT") as span:
        span.set_inputs(inputs)
        span.set_outputs(answer)
    return mlflow.get_trace(span.trace_id, flush=True)


def asked_of(row: Row) -> dict[str, Any]:
    """Return everything that the row asks. MLflow's datasets distinguish rows by it."""
    stored = {"stored": row.stored, "after": {str(turn): earlier for turn, earlier in row.after.items()}}
    turns = {"turns": list(row.turns)} if row.turns else {}
    return {"input": list(row.input), **turns, **(stored if row.stored else {})}


def _registered(rows: Sequence[Row], scores: Scores, experiment: str, run_id: str) -> str:
    """Store the rows as a dataset in MLflow and link it to the run. Return its name, or why it was not stored."""
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.genai.datasets import create_dataset, search_datasets

    name = os.environ.get("EVAL_DATASET", f"{scores.run['dataset']}-{dataset_digest(rows)}")
    records = [
        {"inputs": asked_of(row), "expectations": expectations_of(row), "tags": {"row": row.id, **row.tags}}
        for row in rows
    ]
    try:
        known = [one for one in search_datasets(experiment_ids=[experiment]) if one.name == name]
        dataset = known[0] if known else create_dataset(name=name, experiment_id=[experiment])
        dataset.merge_records(records)
        MlflowClient().log_inputs(run_id, datasets=[DatasetInput(dataset=dataset._to_mlflow_entity())])
    except Exception as error:  # noqa: BLE001 - not every store has datasets, and the verdicts matter more than this one
        return f"not registered ({type(error).__name__})"
    return str(dataset.name)


def judge_environment(judge: str) -> dict[str, str]:
    """Return the environment variables that MLflow reads when it asks a judge."""
    # The local model answers one request at a time.
    usual = "1" if judge == LOCAL_JUDGE else "4"
    workers = ("MLFLOW_GENAI_EVAL_MAX_WORKERS", "MLFLOW_GENAI_EVAL_MAX_SCORER_WORKERS")
    found = {name: os.environ.get(name, usual) for name in workers}
    if judge.startswith("openai:") and "OPENAI_API_KEY" not in os.environ:
        # MLflow requires a key, and the user's own server may not need one.
        found["OPENAI_API_KEY"] = "none"
    return found


def _reachable() -> None:
    base = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    if base is None:
        if "OPENAI_API_KEY" not in os.environ:
            raise EvalError("the judge needs OPENAI_API_KEY, or OPENAI_BASE_URL for your own server; set one of them")
        return
    here = httpx.URL(base).host in ("127.0.0.1", "localhost", "::1")
    try:
        # Any answer is fine. Without this check, each judge would retry for minutes.
        httpx.get(f"{base.rstrip('/')}/models", timeout=10, trust_env=not here)
    except httpx.HTTPError as error:
        raise EvalError(
            f"nothing answers at OPENAI_BASE_URL ({type(error).__name__}); start the server, or change it"
        ) from None
