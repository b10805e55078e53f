"""The file that is a logged model for tables of questions; executed when the model is logged or loaded."""

from typing import Any

import mlflow

from graph_agent.packaging.logged import adopt, agent_beside
from graph_agent.packaging.table import TableModel

config: Any = mlflow.models.ModelConfig()
adopt(config.get("settings"))
agent = agent_beside(__file__, graph=config.get("graph"))
mlflow.models.set_model(TableModel(agent, at_once=config.get("at_once")))
