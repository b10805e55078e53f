"""Passes the options of a request on to a model, where the graph's author has set no value."""

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from graph_agent.model_options import (
    EFFORT,
    PROBABILITIES,
    TEMPERATURE,
    TOKENS,
    TOP_P,
    VERBOSITY,
    current_model_options,
)

PASSED = ("databricks", "openai", "azure_openai")
"""Providers whose models take the parameters of OpenAI's chat completions with each call."""

PARAMETERS: Mapping[str, str] = {
    TEMPERATURE: "temperature",
    TOP_P: "top_p",
    TOKENS: "max_tokens",
    EFFORT: "reasoning_effort",
    VERBOSITY: "verbosity",
}
"""Option -> the parameter of a call."""

RESPONSES: Mapping[str, tuple[str, str | None]] = {
    TEMPERATURE: ("temperature", None),
    TOP_P: ("top_p", None),
    TOKENS: ("max_output_tokens", None),
    EFFORT: ("reasoning", "effort"),
    VERBOSITY: ("text", "verbosity"),
}
"""Option -> the parameter of a Databricks endpoint that speaks the Responses API, and the field in it."""

SETTINGS: Mapping[str, tuple[str, ...]] = {
    TEMPERATURE: ("temperature",),
    TOP_P: ("top_p",),
    TOKENS: ("max_tokens", "max_output_tokens", "num_predict"),
    EFFORT: ("reasoning_effort",),
    VERBOSITY: ("verbosity",),
}
"""Option -> the settings of other models that may mean it, in LangChain's names."""

SET_BY: Mapping[str, tuple[str, ...]] = {
    TEMPERATURE: ("temperature",),
    TOP_P: ("top_p",),
    TOKENS: ("max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict"),
    EFFORT: ("reasoning_effort", "reasoning", "thinking"),
    VERBOSITY: ("verbosity", "text"),
    PROBABILITIES: ("logprobs", "top_logprobs"),
}
"""Option -> the parameters with which an author sets it."""

RESPONSE_FORMAT = "response_format"
"""The argument of a call that asks for JSON. Other models do not know it in this form."""

NESTED = ("extra_params", "model_kwargs", "extra_body")
"""Parameters that hold further ones."""


def with_request_options(
    model: BaseChatModel, provider: str, given: dict[str, Any], parameters: Mapping[str, Any]
) -> tuple[BaseChatModel, dict[str, Any]]:
    """The model and the arguments of a call with the options of the current run.

    `given` are the arguments so far, and `parameters` those with which the author has made the model. What is in either
    of them stays.
    """
    if provider not in PASSED:
        given = {name: value for name, value in given.items() if name != RESPONSE_FORMAT}
    options = current_model_options()
    asked = {one: value for one, value in options.values.items() if one in SET_BY}
    wanted = {one: value for one, value in asked.items() if not _is_set(one, given, parameters)}
    if not wanted:
        return model, given
    if provider not in PASSED:
        return _changed(model, wanted), given
    added: dict[str, Any] = {}
    for one, value in wanted.items():
        if one == PROBABILITIES:
            if getattr(model, "use_responses_api", False):
                # That API of these endpoints has another form for them.
                continue
            added |= {"logprobs": True, **({"top_logprobs": value} if value else {})}
        elif provider == "databricks" and getattr(model, "use_responses_api", False):
            name, inner = RESPONSES[one]
            added[name] = value if inner is None else {inner: value}
        else:
            added[PARAMETERS[one]] = value
        options.reached(one)
    return model, {**added, **given}


def _changed(model: BaseChatModel, wanted: Mapping[str, Any]) -> BaseChatModel:
    """A copy of a model that takes such parameters only as its settings. It shares the connections."""
    update: dict[str, Any] = {}
    for one, value in wanted.items():
        name = next((name for name in SETTINGS.get(one, ()) if name in type(model).model_fields), None)
        if name is not None:
            update[name] = value
            current_model_options().reached(one)
    return model.model_copy(update=update) if update else model


def _is_set(option: str, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    inner = [parameters[name] for name in NESTED if isinstance(parameters.get(name), Mapping)]
    return any(one.get(name) is not None for one in (given, parameters, *inner) for name in SET_BY[option])
