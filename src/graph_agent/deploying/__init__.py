"""Deployment to Databricks Apps with databricks-sdk only. The service does not need this room."""
