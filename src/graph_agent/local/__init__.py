"""The local workspace: answers Databricks REST calls on loopback with a real model and a real index."""
