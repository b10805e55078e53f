"""The file that is a logged model for tables of questions; executed when the model is logged or loaded."""

from typing import Any

import mlflow

from graph_agent.packaging.logged_model import agent_beside
from graph_agent.packaging.table import TableModel

config: Any = mlflow.models.ModelConfig()
agent = agent_beside(__file__, graph=config.get("graph"), settings=config.get("settings"))
mlflow.models.set_model(TableModel(agent, at_once=config.get("at_once")))
