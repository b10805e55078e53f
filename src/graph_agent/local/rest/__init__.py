"""The Databricks REST routes that the local workspace serves."""
