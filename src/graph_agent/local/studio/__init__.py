"""LangGraph Studio's server, limited to the pages that may use it."""
