"""What serving a graph costs: one scripted graph, several servers, ratios from one run."""
