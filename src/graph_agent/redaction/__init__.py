"""Removes secrets from text: known kinds by their format, known values by comparison. Imports no other room.

This is the second line of defense, for text from outside: a tool's result, a user's paste, a library's log line. The
first line is that this package never puts a secret there.
"""

from graph_agent.redaction.async_redaction import redact_async, redact_value_async, with_redacted
from graph_agent.redaction.known_secrets import HIDDEN_VALUES, current_hidden_values, secrets_of, with_hidden_values
from graph_agent.redaction.names import may_tell
from graph_agent.redaction.stream import Redactor, portions
from graph_agent.redaction.text import redact, redacting
from graph_agent.redaction.values import redact_json, redact_value, redacting_value

__all__ = [
    "HIDDEN_VALUES",
    "Redactor",
    "current_hidden_values",
    "may_tell",
    "portions",
    "redact",
    "redact_async",
    "redact_json",
    "redact_value",
    "redact_value_async",
    "redacting",
    "redacting_value",
    "secrets_of",
    "with_hidden_values",
    "with_redacted",
]
