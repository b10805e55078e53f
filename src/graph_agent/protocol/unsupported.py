"""Refuses fields of the Responses API that would change the answer and are not supported, with the reason.

Each rule gets a value that is present and has the right type.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graph_agent.errors import UnsupportedField

__all__ = ["refuse_unsupported"]


_REFUSED: Mapping[str, tuple[str, Callable[[Any], bool], str]] = {
    "background": ("background", bool, "background runs are not served; leave it out and stream instead"),
    "conversation": ("conversation", lambda _: True, "conversations are not stored; resend the history in `input`"),
    "previous_response_id": (
        "previous_response_id",
        lambda _: True,
        "responses are not stored; resend the history in `input`",
    ),
    "store": ("store", bool, "responses are not stored; leave it out"),
    "context_management": (
        "context_management",
        bool,
        "nothing is stored, and so there is no key to seal a summary; send a shorter history in `input`",
    ),
    "moderation": ("moderation", bool, "this service does not moderate; moderate in the graph"),
    "prompt": ("prompt", lambda _: True, "stored prompts are not served; send `instructions`"),
}
"""Field -> the path that the error names, when it is refused, and why."""


_OF_A_STORE = frozenset({"context_management", "conversation", "previous_response_id", "store"})
"""Fields that are refused only where nothing is stored."""


def why_refused(name: str) -> str | None:
    """Why a field is refused when it asks for something, or `None` if that is not so or depends on the store."""
    return None if name in {"background", *_OF_A_STORE} or name not in _REFUSED else _REFUSED[name][2]


def refuse_unsupported(fields: Mapping[str, Any], *, background_served: bool, stores: bool) -> None:
    """Raise `UnsupportedField` for the first field that asks for something unsupported."""
    for name, (param, asks_for_it, reason) in _REFUSED.items():
        if (name == "background" and background_served) or (name in _OF_A_STORE and stores):
            continue
        if fields.get(name) is not None and asks_for_it(fields[name]):
            raise UnsupportedField(f"`{param}` is not supported: {reason}.", param=param)
