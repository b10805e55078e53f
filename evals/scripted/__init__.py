"""A workspace whose model is a script: the deterministic stand-in that `make eval` judges with in CI."""
