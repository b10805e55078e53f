"""The model file of a logged agent (MLflow, "Models from code"). MLflow executes it to log or load the model."""

from typing import Any

import mlflow

from graph_agent.packaging.logged_model import agent_beside

config: Any = mlflow.models.ModelConfig()
agent = agent_beside(__file__, graph=config.get("graph"), settings=config.get("settings"))
mlflow.models.set_model(agent)
