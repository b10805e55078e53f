"""The local workspace: Databricks REST calls answered on loopback by a real model and a real index."""
