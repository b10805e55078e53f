"""Graphs as MLflow models: their files and packages, and the workspace resources that they need."""
