"""Finds where traces are stored, and points MLflow there while judges work."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graph_agent.evaluating.errors import EvalError
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.settings import Settings

QUIET = {
    # Empty, because MLflow would otherwise look up a judge's price on a website, three times in each process.
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
FILE = "sqlite:///"
"""The prefix of a tracking URI that is a local file."""

TRACE_SECONDS = 20.0
"""How long a new trace may take to reach its store."""


def tracking_uri(settings: Settings) -> str:
    """Return where the service writes traces: the configured URI, else the file that `graph-agent traces` shows."""
    named = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{settings.cache_dir.resolve()}/traces.db"


def local_file(uri: str) -> Path | None:
    """Return the file of a tracking URI that is a local file, or `None`."""
    return Path(uri.removeprefix(FILE)) if uri.startswith(FILE) else None


@contextmanager
def tracked(settings: Settings, more: Mapping[str, str]) -> Iterator[str]:
    """Point MLflow at the traces and at the experiment of the service, and yield the id of the experiment.

    MLflow and the environment are restored at the end.

    Raises:
        EvalError: the store of the traces does not answer.
    """
    uri = tracking_uri(settings)
    before = dict(os.environ)
    # Set before the import, because MLflow starts its telemetry while it is imported.
    os.environ.update({**QUIET, **more})
    with IMPORT_LOCK:
        import mlflow
        import mlflow.genai
        from mlflow.exceptions import MlflowException
        from mlflow.tracking._tracking_service.utils import _use_tracking_uri

        from graph_agent.tracing.new_database import make_database
    if (file := local_file(uri)) is not None:
        # A service in this process may be making the same file, and MLflow can make only one at a time.
        make_database(file)
    try:
        with _use_tracking_uri(uri), _without_autologging():
            try:
                yield _experiment(settings)
            except MlflowException as error:
                # MLflow's message may quote the URI with its credentials.
                raise EvalError(
                    f"MLflow could not store the evaluation ({error.error_code}); check GRAPH_AGENT_TRACKING_URI"
                ) from error
            finally:
                # Before the old URI is restored. Otherwise the last traces would go to the wrong store.
                mlflow.flush_trace_async_logging()
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _without_autologging() -> Iterator[None]:
    """Stop MLflow's evaluation from patching every model library that it finds.

    MLflow patches while it holds the lock of its import hooks, and imports other modules in the process. If another
    thread imports at that moment, as the trace exporter does, that thread holds Python's import lock and waits for the
    lock of the hooks. This is a deadlock. MLflow's own switch, `mlflow.autolog(disable=True)`, has the same problem.
    """
    with IMPORT_LOCK:
        from mlflow.ml_package_versions import FLAVOR_TO_MODULE_NAME
        from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS
    before = {name: AUTOLOGGING_INTEGRATIONS.get(name) for name in FLAVOR_TO_MODULE_NAME}
    AUTOLOGGING_INTEGRATIONS.update({name: {**(config or {}), "disable": True} for name, config in before.items()})
    try:
        yield
    finally:
        for name, config in before.items():
            if config is None:
                AUTOLOGGING_INTEGRATIONS.pop(name, None)
            else:
                AUTOLOGGING_INTEGRATIONS[name] = config


def traces_of(ids: Sequence[str]) -> dict[str, Any]:
    """Return the traces by id. Wait for traces that are not stored yet, `TRACE_SECONDS` at most."""
    with IMPORT_LOCK:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    client, found, ends = MlflowClient(), {}, time.monotonic() + TRACE_SECONDS
    waiting = list(ids)
    while waiting:
        for name in list(waiting):
            try:
                found[name] = client.get_trace(name)
                waiting.remove(name)
            except MlflowException:
                # Not stored yet: the service exports traces in the background.
                pass
        if time.monotonic() > ends:
            break
        if waiting:
            time.sleep(0.5)
    return found


def _experiment(settings: Settings) -> str:
    import mlflow

    if named := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return str(mlflow.set_experiment(experiment_id=named).experiment_id)
    return str(mlflow.set_experiment(settings.experiment).experiment_id)
