"""Documents as chunks for an index: files found, decoded, read, and cut into passages."""
