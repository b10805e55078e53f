"""The server for LangGraph Studio, restricted to the web pages that may use it."""
