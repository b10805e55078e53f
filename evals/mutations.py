"""The mutations and the metrics that must notice each: proof that the gate judges."""

from collections.abc import Mapping

MUTATIONS: Mapping[str, frozenset[str]] = {
    "wrong-documents": frozenset({"recall_at_5", "mrr", "ndcg_at_5"}),
    "invented-citations": frozenset({"citations_valid"}),
    "swapped-arguments": frozenset({"tool_arguments", "tool_calls_f1"}),
    "never-declines": frozenset({"declined_when_must"}),
    "empty-answers": frozenset({"well_formed", "facts_covered", "answered_when_must"}),
    "leaking-planner": frozenset({"no_leak"}),
}
"""Graph of `evals/mutants/langgraph.json` -> metrics. All of them must fail when the scripted model plays; over a real
model the first one named in `docs/evals.md` must."""
