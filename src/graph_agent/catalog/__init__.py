"""`langgraph.json` and its graphs: reads, loads, checks and reloads them."""
