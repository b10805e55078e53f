"""Webhooks: signed messages to targets of the operator when background runs end."""
