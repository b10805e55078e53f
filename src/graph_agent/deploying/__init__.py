"""Shipping the app to Databricks Apps with databricks-sdk alone; the service does not need this room."""
