"""Secrets out of text: known kinds by their form, known values by what they are. Imports nothing of ours.

It is the second line of defence, for what strangers say: a tool's result, a user's paste, a library's log line. The
first is that nothing of ours puts a secret there.
"""

from graph_agent.redaction.known import HIDDEN_VALUES, hidden_here, hiding, secrets_of
from graph_agent.redaction.pauses import redact_gently, redact_value_gently, redacted_ahead
from graph_agent.redaction.stream import Redactor, portions
from graph_agent.redaction.text import redact, redacting
from graph_agent.redaction.values import redact_json, redact_value, redacting_value

__all__ = [
    "HIDDEN_VALUES",
    "Redactor",
    "hidden_here",
    "hiding",
    "portions",
    "redact",
    "redact_gently",
    "redact_json",
    "redact_value",
    "redact_value_gently",
    "redacted_ahead",
    "redacting",
    "redacting_value",
    "secrets_of",
]
