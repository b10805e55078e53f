"""The evaluation of this project: datasets, baselines, a scripted model, and broken graphs for `graph-agent eval`."""
