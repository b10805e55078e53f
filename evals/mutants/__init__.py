"""Copies of the flagship graph that are broken on purpose. The gate must detect each of them."""
