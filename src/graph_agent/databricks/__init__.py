"""The one border to Databricks."""
