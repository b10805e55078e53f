"""Who is calling, and the user's token that a run may use."""
