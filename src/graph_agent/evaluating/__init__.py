"""Judges a served agent: asks every row of a dataset, scores the answers, and compares them with a baseline.

`graph-agent eval` runs it in any project; `docs/evals.md` describes it. The service imports nothing of this package.
"""
