"""Documents as chunks for an index: finds files, decodes and reads them, and cuts them into passages."""
