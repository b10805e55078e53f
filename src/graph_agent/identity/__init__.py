"""The caller of a run, and the user's token that the run may use."""
