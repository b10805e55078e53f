"""The mutations and the metrics that must detect each of them. They prove that the gate works."""

from collections.abc import Mapping

MUTATIONS: Mapping[str, frozenset[str]] = {
    "wrong-documents": frozenset({"recall_at_5", "mrr", "ndcg_at_5"}),
    "invented-citations": frozenset({"citations_valid"}),
    "swapped-arguments": frozenset({"tool_arguments", "tool_calls_f1"}),
    "never-declines": frozenset({"declined_when_must"}),
    "empty-answers": frozenset({"well_formed", "facts_covered", "answered_when_must"}),
    "leaking-planner": frozenset({"no_leak"}),
}
"""Graph of `evals/mutants/langgraph.json` -> metrics. All of them must fail with the scripted model. With a real model,
only the first one that `docs/evals.md` names must fail."""
