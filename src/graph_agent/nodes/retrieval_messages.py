"""How the retriever tells the planner what it found."""

EMPTY_SEARCH = "No passage fits this query."
"""The text of a tool message whose search found nothing."""

PASSAGES = "graph_agent_passages"
"""Key in a tool message's `additional_kwargs`: how many passages its text lists."""
