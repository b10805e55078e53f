"""`langgraph.json` and the graphs it names: read, load, check, reload."""
