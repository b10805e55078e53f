"""The flagship, broken on purpose: what the gate must notice."""
