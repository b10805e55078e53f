"""`graph-agent log-model`: log the graphs as an MLflow model, for Model Serving, notebooks and batch scoring."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from graph_agent.app_context import AppContext
from graph_agent.catalog.catalog import Catalog
from graph_agent.catalog.manifest import read_manifest
from graph_agent.errors import BadSetting, ConfigurationError
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.packaging.discovery import resources_of
from graph_agent.packaging.model_files import requirements, stage_files
from graph_agent.packaging.resources import Resources
from graph_agent.settings import Settings, as_environment
from graph_agent.sync import call
from graph_agent.tracing.new_database import OWN_DATABASE, make_database
from graph_agent.tracing.version import version_of

HERE = Path(__file__).parent

OF_THE_GRAPH = frozenset(
    {
        *(
            "model",
            "index",
            "min_score",
            "request_seconds",
            "silence_seconds",
            "model_seconds",
            "authorization",
            "tracing",
        ),
        *("max_steps", "max_tool_calls", "max_seconds", "max_output_tokens"),
    }
)
"""The settings that are recorded in the model, because they say how a graph runs. The others say where a service runs,
or are secret."""

CONCURRENT_ROWS = 16
"""Rows that one Python worker of a batch job answers at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedModel:
    """A model that was logged."""

    uri: str
    version: str | None
    """The version in the registry. `None` if the model was not registered."""

    resources: Resources


def log_model(
    settings: Settings,
    *,
    name: str = "agent",
    register: bool = False,
    table: bool = False,
    example: str | None = None,
    used: Mapping[str, Sequence[str]] | None = None,
    code: Sequence[Path] = (),
    packages: Sequence[str] = (),
    experiment_id: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> LoggedModel:
    """Log the graphs of `settings.config` to the experiment, with their files, packages and settings.

    `name` must be `catalog.schema.model` with `register`. With `table`, the model is for `mlflow.pyfunc.spark_udf`;
    otherwise it is an agent. Chat models are called only if there is an `example` question. `used` names resources
    that are not found in the graphs, by the fields of `Resources`. The experiment is `experiment_id`, or else
    `settings.experiment`.

    Raises:
        ConfigurationError: or one of its subclasses. Something must be changed, or the tracking server or registry
            refused the model. The message says what to change.
    """
    environ = os.environ if environ is None else environ
    if register and name.count(".") != 2:
        raise BadSetting("--register needs a name with three parts: --name catalog.schema.model", param="name")
    specs = read_manifest(settings.config)
    app = AppContext(settings, environ)
    # Load every graph first: a broken graph must not be logged, and `resources_of` reads the loaded modules.
    call(Catalog(specs, default=settings.default_graph, app=app).open)
    with app.entered():
        resources = resources_of(specs, settings, used=used)
    call(app.aclose)
    with IMPORT_LOCK:
        import mlflow

        from graph_agent.packaging.logged_model import without_trial_calls
    with tempfile.TemporaryDirectory() as folder, without_trial_calls(example is None):
        arguments: dict[str, Any] = {
            # The name in the experiment has no catalog and schema. Only the registered name has them.
            "name": name.rpartition(".")[2],
            "python_model": str(HERE / ("table_model.py" if table else "agent_model.py")),
            "code_paths": [str(path) for path in stage_files(settings.config, Path(folder), more=code)],
            "pip_requirements": requirements(settings.config, more=packages),
            "model_config": {
                "settings": recorded_settings(settings),
                "graph": settings.default_graph,
                "at_once": CONCURRENT_ROWS,
            },
            "tags": dict(version_of(environ, settings.config.resolve().parent)),
            "registered_model_name": name if register else None,
            **_rights(settings, resources),
            **(_table() if table else _example(example)),
        }
        try:
            _use_experiment(settings, experiment_id, environ)
            logged = mlflow.pyfunc.log_model(**arguments)
        except (mlflow.MlflowException, OSError) as error:
            # Not the message: it may quote a URL with credentials.
            reason = getattr(error, "error_code", type(error).__name__)
            raise ConfigurationError(
                f"the model could not be logged ({reason}); check the tracking server, the experiment and the name"
            ) from error
    return LoggedModel(uri=logged.model_uri, version=logged.registered_model_version, resources=resources)


def recorded_settings(settings: Settings) -> dict[str, str]:
    """The recorded settings that differ from the default, as environment variables."""
    default = Settings()
    changed = {one.name for one in fields(settings) if getattr(settings, one.name) != getattr(default, one.name)}
    names = {f"GRAPH_AGENT_{one.upper()}" for one in changed & OF_THE_GRAPH}
    return {name: value for name, value in as_environment(settings).items() if name in names}


def _rights(settings: Settings, resources: Resources) -> dict[str, Any]:
    if settings.authorization == "app":
        return {"resources": resources.for_mlflow()}
    from mlflow.models.auth_policy import AuthPolicy, SystemAuthPolicy, UserAuthPolicy

    return {
        "auth_policy": AuthPolicy(
            system_auth_policy=SystemAuthPolicy(resources=resources.for_mlflow()),
            user_auth_policy=UserAuthPolicy(api_scopes=resources.scopes()),
        )
    }


def _table() -> dict[str, Any]:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    outputs: list[Any] = [ColSpec(DataType.string, name) for name in ("answer", "status", "error")]
    signature = ModelSignature(Schema([ColSpec(DataType.string, "question", required=False)]), Schema(outputs))
    return {"signature": signature}


def _example(question: str | None) -> dict[str, Any]:
    return {"input_example": {"input": [{"role": "user", "content": question or "Hello"}]}}


def _use_experiment(settings: Settings, experiment_id: str | None, environ: Mapping[str, str]) -> None:
    import mlflow

    if uri := settings.tracking_uri or environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(uri)
    else:
        make_database(settings.cache_dir / OWN_DATABASE)
        mlflow.set_tracking_uri(f"sqlite:///{settings.cache_dir / OWN_DATABASE}")
    if experiment_id:
        mlflow.set_experiment(experiment_id=experiment_id)
    else:
        mlflow.set_experiment(settings.experiment)
