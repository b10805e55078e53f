"""What a request asks of the models of a graph, and what of it has no effect in any graph."""

from collections.abc import Mapping
from typing import Any

from graph_agent.model_options import EFFORT, PROBABILITIES, TEMPERATURE, TOKENS, TOP_P, TRUNCATION, VERBOSITY

Fields = Mapping[str, Any]

LOGPROBS = "message.output_text.logprobs"
"""The value of `include` that asks for the probabilities of tokens."""

INCLUDED: Mapping[str, str] = {
    "message.input_image.image_url": "images that were sent are always returned",
    "computer_call_output.output.image_url": "images that were sent are always returned",
    "reasoning.encrypted_content": "no reasoning is encrypted here",
    "file_search_call.results": "answers have no such items",
    "web_search_call.results": "answers have no such items",
    "web_search_call.action.sources": "answers have no such items",
    "code_interpreter_call.outputs": "answers have no such items",
}
"""Values of `include` that need nothing -> why. Clients send some of them in every request."""

ONE_TIER = ("auto", "default")
"""The values of `service_tier` that this service has."""

WITHOUT_EFFECT: Mapping[str, str] = {
    "frequency_penalty": "the graph decides how its models work",
    "presence_penalty": "the graph decides how its models work",
}
"""Numbers that ask for something unless they are 0 -> why they do not get it."""


def options_in(fields: Fields) -> dict[str, Any]:
    """The options that a request sets, by their paths."""
    options = {name: fields.get(name) for name in (TEMPERATURE, TOP_P, TOKENS, TRUNCATION)}
    options[EFFORT] = (fields.get("reasoning") or {}).get("effort")
    options[VERBOSITY] = (fields.get("text") or {}).get("verbosity")
    if fields.get("top_logprobs") or LOGPROBS in (fields.get("include") or ()):
        options[PROBABILITIES] = fields.get("top_logprobs") or 0
    return {name: value for name, value in options.items() if value is not None}


def option_warnings(fields: Fields) -> list[str]:
    """One sentence for each option that has no effect."""
    found = [f"`{name}` has no effect: {why}." for name, why in WITHOUT_EFFECT.items() if fields.get(name)]
    if (fields.get("reasoning") or {}).get("summary") is not None:
        found.append("`reasoning.summary` has no effect: reasoning is shown as the endpoint of the model gives it.")
    if fields.get("service_tier") not in (None, *ONE_TIER):
        found.append("`service_tier` has no effect: every request is served alike, as `default`.")
    return found
