"""Child processes, the shutdown of this process, and processes that end with their parent."""
