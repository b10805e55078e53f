"""A model that is a script: the deterministic stand-in with which `graph-agent eval` judges this project in CI."""

from .rules import ScriptedModel

model = ScriptedModel()
