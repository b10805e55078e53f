"""Model weights: known files that are fetched, verified, and kept in the cache folder."""
