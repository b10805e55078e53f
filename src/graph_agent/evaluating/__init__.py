"""Evaluates a served agent: asks every row of a dataset, scores the answers, and compares them with a baseline.

`graph-agent eval` runs it in any project. `docs/evals.md` describes it. The names exported here are for the scorers in
a project's `evals/scorers.py`, and for scripts that generate datasets.
"""

from graph_agent.evaluating.errors import BadDataset
from graph_agent.evaluating.records import Record, Turn
from graph_agent.evaluating.row_reader import read_rows
from graph_agent.evaluating.rows import Expectations, ExpectedCall, Row
from graph_agent.evaluating.scorers import Figures, Scorer

__all__ = [
    "BadDataset",
    "Expectations",
    "ExpectedCall",
    "Figures",
    "Record",
    "Row",
    "Scorer",
    "Turn",
    "read_rows",
]
