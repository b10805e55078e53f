"""What a request asks of the models of a graph, and what of it has no effect in any graph."""

from collections.abc import Mapping
from typing import Any

from graph_agent.model_options import EFFORT, TEMPERATURE, TOKENS, TOP_P, VERBOSITY

Fields = Mapping[str, Any]

WITHOUT_EFFECT: Mapping[str, str] = {
    "frequency_penalty": "the graph decides how its models work",
    "presence_penalty": "the graph decides how its models work",
    "top_logprobs": "answers have no probabilities",
}
"""Numbers that ask for something unless they are 0 -> why they do not get it."""


def options_in(fields: Fields) -> dict[str, Any]:
    """The options that a request sets, by their paths."""
    options = {name: fields.get(name) for name in (TEMPERATURE, TOP_P, TOKENS)}
    options[EFFORT] = (fields.get("reasoning") or {}).get("effort")
    options[VERBOSITY] = (fields.get("text") or {}).get("verbosity")
    return {name: value for name, value in options.items() if value is not None}


def option_warnings(fields: Fields) -> list[str]:
    """One sentence for each option that has no effect."""
    found = [f"`{name}` has no effect: {why}." for name, why in WITHOUT_EFFECT.items() if fields.get(name)]
    if (fields.get("reasoning") or {}).get("summary") is not None:
        found.append("`reasoning.summary` has no effect: reasoning is shown as the endpoint of the model gives it.")
    return found
