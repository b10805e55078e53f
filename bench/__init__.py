"""Measures the overhead of serving a graph: one scripted graph, several servers, and ratios from the same run."""
