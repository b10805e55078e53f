"""A deterministic model that follows rules. `graph-agent eval` uses it in CI to evaluate this project."""

from .rules import reply

model = reply
