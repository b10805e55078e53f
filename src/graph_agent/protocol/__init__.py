"""Translation between the Responses API and LangGraph: pure, synchronous, no I/O."""
