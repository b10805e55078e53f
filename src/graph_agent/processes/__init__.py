"""Child processes, the end of this one, and processes that end with their parent."""
