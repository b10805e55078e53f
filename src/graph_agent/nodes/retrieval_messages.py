"""How the retriever reports to the planner what it found."""

EMPTY_SEARCH = "No passage fits this query."
"""The text of a tool message for a search that found nothing."""

PASSAGES = "graph_agent_passages"
"""Key in a tool message's `additional_kwargs`: the number of passages in its text."""
