"""What a logged model runs, and while it is being logged does not."""

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

UNASKED: ContextVar[bool] = ContextVar("graph_agent_unasked", default=False)
"""Whether an agent is being logged that must not run its graph."""


@contextmanager
def without_trial_calls(without_asking: bool) -> Iterator[None]:
    """Within it a model is logged; MLflow's two trial calls of `predict` run the graph, or not."""
    before = UNASKED.set(without_asking)
    try:
        yield
    finally:
        UNASKED.reset(before)


def agent_beside(file: str, *, graph: str | None, settings: Mapping[str, str]) -> GraphResponsesAgent:
    """The agent of the logged model that `file` lies in; one that answers nothing where it is not to be asked.

    `settings` are the variables it was logged with; what this process's environment says wins. They are this agent's
    alone: another model that is loaded in the process has its own.
    """
    kind = UncalledAgent if UNASKED.get() else GraphResponsesAgent
    project = Path(file).parent / "code" / FOLDER / MANIFEST
    recorded = {name: value for name, value in settings.items() if not os.environ.get(name)}
    parsed = Settings.from_environment(recorded)
    given = {name: getattr(parsed, name) for name in (variable.removeprefix(PREFIX).lower() for variable in recorded)}
    if Settings.from_environment(**given).tracing == "off":
        mlflow.tracing.disable()
    return kind(config=project if project.is_file() else None, graph=graph, **given)


class UncalledAgent(GraphResponsesAgent):
    """Stands for the agent while MLflow logs it and tries `predict`, which must not call a model."""

    def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:  # type: ignore[override]
        """An empty response."""
        return ResponsesAgentResponse(output=[])
