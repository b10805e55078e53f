"""How the retriever reports to the planner what it found."""

import re

EMPTY_SEARCH = "No passage fits this query."
"""The text of a tool message for a search that found nothing."""

PASSAGES = "graph_agent_passages"
"""Key in a tool message's `additional_kwargs`: the number of passages in its text."""

NUMBERED = re.compile(r"^\[(\d{1,3})\] ", re.MULTILINE)
"""The number of each passage in such a text."""
