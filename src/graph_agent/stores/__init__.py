"""What outlives a run: responses, conversations and LangGraph's checkpoints."""
