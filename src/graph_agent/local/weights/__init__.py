"""Model weights: known files, fetched, verified, and kept in the cache folder."""
