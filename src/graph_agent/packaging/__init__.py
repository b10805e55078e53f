"""A graph as an MLflow model: what goes into it, and what it needs of the workspace."""
