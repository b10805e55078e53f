"""What each field must be of a request about a history. `history_requests` says what the fields mean.

A module of its own, because the description of the API needs it before LangChain is imported.
"""

from graph_agent.protocol.field_checks import Field, Fields, a_name, a_string, an_object, one_of, text_within
from graph_agent.protocol.request_fields import RUN, SERVICE_TIERS

LONGEST_KEY = 64
"""Characters of `prompt_cache_key`, as the Open Responses specification has it."""

_NO_EFFECT = "It has no effect: no prompt is cached here."

_INPUT = Field(RUN["input"].check, "The history, or what follows `previous_response_id`.")
_PREVIOUS = Field(a_name, "The stored response up to which the conversation counts.")

COMPACTION_BODY: Fields = {
    "model": Field(a_name, "The name of a graph, as in a request for a response.", required="name a graph"),
    "input": _INPUT,
    "previous_response_id": _PREVIOUS,
    "instructions": Field(a_string, "What the summary should pay attention to."),
    "prompt_cache_key": Field(text_within(LONGEST_KEY, blank=True), _NO_EFFECT),
    "prompt_cache_options": Field(an_object, _NO_EFFECT),
    "prompt_cache_retention": Field(a_string, _NO_EFFECT),
    "service_tier": Field(one_of(*SERVICE_TIERS), "It has no effect: every request is served alike."),
}
"""The body of `POST /responses/compact`."""

COUNT_BODY: Fields = {
    "model": Field(a_string, "The name of a graph, as in a request for a response."),
    "input": _INPUT,
    "previous_response_id": _PREVIOUS,
    "conversation": RUN["conversation"],
    **{name: RUN[name] for name in ("instructions", "tools")},
    **{
        name: Field(RUN[name].check, "It does not change the count.")
        for name in ("parallel_tool_calls", "reasoning", "text", "tool_choice", "truncation")
    },
    "personality": Field(text_within(LONGEST_KEY, blank=True), "It does not change the count."),
}
"""The body of `POST /responses/input_tokens`."""
