"""The agent of a logged model, and its stand-in while MLflow logs the model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import mlflow
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse

from graph_agent.packaging.model_files import FOLDER, MANIFEST
from graph_agent.responses_agent import GraphResponsesAgent
from graph_agent.settings import PREFIX, Settings

UNCALLED: ContextVar[bool] = ContextVar("graph_agent_uncalled", default=False)
"""Whether a model is being logged that must not run its graph. A variable, because MLflow executes the model file and
passes no arguments to it."""


@contextmanager
def without_trial_calls(enabled: bool) -> Iterator[None]:
    """While a model is logged, MLflow calls `predict` twice as a trial. If `enabled`, these calls do not run the
    graph."""
    before = UNCALLED.set(enabled)
    try:
        yield
    finally:
        UNCALLED.reset(before)


def agent_beside(file: str, *, graph: str | None, settings: Mapping[str, str]) -> GraphResponsesAgent:
    """The agent of the logged model that contains `file`. During `without_trial_calls` it answers nothing.

    `settings` are the variables that the model was logged with. This process's environment overrides them. They apply
    to this agent only: another model in the same process has its own settings.
    """
    kind = UncalledAgent if UNCALLED.get() else GraphResponsesAgent
    project = Path(file).parent / "code" / FOLDER / MANIFEST
    recorded = {name: value for name, value in settings.items() if not os.environ.get(name)}
    parsed = Settings.from_environment(recorded)
    given = {name: getattr(parsed, name) for name in (variable.removeprefix(PREFIX).lower() for variable in recorded)}
    if Settings.from_environment(**given).tracing == "off":
        # MLflow traces `predict` by itself, whatever the service's setting is.
        mlflow.tracing.disable()
    return kind(config=project if project.is_file() else None, graph=graph, **given)


class UncalledAgent(GraphResponsesAgent):
    """Replaces the agent while MLflow logs it and tries `predict`, which must not call a model."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:  # type: ignore[override]
        """Return an empty response."""
        return ResponsesAgentResponse(output=[])
