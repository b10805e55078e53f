"""The commands of `graph-agent`, one module each."""
