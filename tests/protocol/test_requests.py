import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from tests.protocol.malformed import LEAK, MALFORMED

from graph_agent.errors import InvalidRequest, RequestError, UnknownGraph, UnsupportedField
from graph_agent.protocol.requests import Invocation, parse_request

GRAPHS = ["assistant", "starter"]


def parse(**fields: Any) -> Invocation:
    return parse_request(json.dumps({"input": "hi", **fields}).encode(), graphs=GRAPHS)


def refusal(**fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(**fields)
    return caught.value


def said(messages: Any) -> list[tuple[str, Any]]:
    return [(message.type, message.content) for message in messages]


def test_the_smallest_request_is_one_question_to_the_default_graph():
    invocation = parse_request(b'{"input": "hi"}', graphs=GRAPHS)

    (message,) = invocation.messages
    assert said([message]) == [("human", "hi")]
    assert invocation == Invocation(
        graph=None,
        messages=[message],
        thread=None,
        mode="reply",
        custom_inputs={},
        metadata={},
        max_output_tokens=None,
        max_tool_calls=None,
        client_request_id=None,
        background=False,
    )


def test_everything_a_request_can_ask_for_arrives():
    invocation = parse(
        input=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        model="starter",
        instructions="Be brief.",
        stream=True,
        custom_inputs={"thread_id": "t2", "depth": {"n": [1, None]}},
        context={"conversation_id": "t1", "user_id": "someone"},
        metadata={"ticket": "42"},
        max_output_tokens=7,
        max_tool_calls=3,
        client_request_id="r1",
    )

    assert said(invocation.messages) == [("system", "Be brief."), ("human", "hi"), ("ai", "ho")]
    assert invocation == Invocation(
        graph="starter",
        messages=invocation.messages,
        thread="t1",
        mode="stream",
        custom_inputs={"thread_id": "t2", "depth": {"n": [1, None]}},
        metadata={"ticket": "42"},
        max_output_tokens=7,
        max_tool_calls=3,
        client_request_id="r1",
        options={"max_output_tokens": 7},
        said={"instructions": "Be brief.", "max_output_tokens": 7, "max_tool_calls": 3},
    )


def test_null_is_the_same_as_absent_for_every_optional_field():
    nulls = dict.fromkeys(
        [
            *[
                "background",
                "client_metadata",
                "client_request_id",
                "context",
                "conversation",
                "custom_inputs",
                "databricks_options",
            ],
            *["include", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "prompt"],
            *["parallel_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning", "safety_identifier"],
            *["service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools"],
            *["top_logprobs", "top_p", "truncation", "user"],
        ]
    )

    assert described(parse(**nulls)) == described(parse())


def test_what_has_no_effect_here_is_accepted():
    harmless = {
        "user": "u",
        "store": False,
        "parallel_tool_calls": False,
        "include": ["reasoning.encrypted_content"],
        "service_tier": "auto",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "stream_options": {"include_obfuscation": False},
        "client_metadata": {"version": "1", "turn": ""},
        "top_logprobs": 0,
        "databricks_options": {"long_task": True},
        "text": {"format": {"type": "text"}},
        "tools": [],
        "tool_choice": "auto",
        "reasoning": {"effort": None, "summary": None},
        "background": False,
    }

    assert described(parse(**harmless)) == described(parse())


def test_a_request_may_ask_for_the_steps():
    assert parse(include=["graph_agent.steps", "message.output_text.logprobs"]).steps
    assert not parse(include=["message.output_text.logprobs"]).steps


@pytest.mark.parametrize("name", ["graph_agent.step", "graph_agent:node", "graph_agent", "x", ""])
def test_what_this_service_cannot_include_is_refused_by_name(name: str):
    with pytest.raises(InvalidRequest, match=r"`include\[1\]` must be one of graph_agent.steps, ") as refused:
        parse(include=["reasoning.encrypted_content", name])
    assert refused.value.param == "include[1]"


def described(invocation: Invocation) -> list[Any]:
    names = [name for name in Invocation.__dataclass_fields__ if name not in ("messages", "said")]
    return [*(getattr(invocation, name) for name in names), said(invocation.messages)]


@pytest.mark.parametrize(
    ("fields", "thread"),
    [
        ({"context": {"conversation_id": "a"}, "custom_inputs": {"thread_id": "b", "session_id": "c"}}, "a"),
        ({"context": {"conversation_id": ""}, "custom_inputs": {"thread_id": "b", "session_id": "c"}}, "b"),
        ({"context": {"conversation_id": None}, "custom_inputs": {"session_id": "c"}}, "c"),
        ({"context": {"user_id": "someone"}, "custom_inputs": {"session_id": ""}}, None),
    ],
)
def test_the_thread_is_the_conversation_id_or_else_a_hint_in_custom_inputs(fields: dict[str, Any], thread: str | None):
    assert parse(**fields).thread == thread


@pytest.mark.parametrize("model", ["agent", "default", "apps/my-app"])
def test_a_name_that_stands_for_the_app_means_the_default_graph(model: str):
    assert parse(model=model).graph is None


def test_a_graph_may_be_named_like_the_default():
    assert parse_request(b'{"input": "hi", "model": "agent"}', graphs=["main", "agent"]).graph == "agent"


def test_an_unknown_graph_is_a_404_that_lists_the_known_ones():
    error = refusal(model="asistant")

    assert isinstance(error, UnknownGraph)
    assert (error.status, error.message) == (
        404,
        "No graph named 'asistant'; known: assistant, starter. Did you mean 'assistant'?",
    )


@pytest.mark.parametrize("model", ["chat-model", "", "gpt-5", "asistant", "m" * 10_000, "x\n"])
def test_an_unknown_graph_is_the_fallback_where_there_is_one(model: str):
    body = json.dumps({"input": "hi", "model": model}).encode()

    assert parse_request(body, graphs=GRAPHS, fallback="starter").graph == "starter"


def test_the_fallback_takes_no_name_that_means_something():
    for model, graph in (("assistant", "assistant"), ("agent", None), ("apps/x", None), (None, None)):
        body = json.dumps({"input": "hi", "model": model}).encode()
        assert parse_request(body, graphs=GRAPHS, fallback="starter").graph == graph


def test_custom_inputs_do_not_choose_the_graph():
    assert parse(custom_inputs={"graph": "starter"}).graph is None


def test_a_repeated_key_counts_as_it_was_last_given():
    assert parse_request(b'{"input": "hi", "stream": false, "stream": true}', graphs=GRAPHS).mode == "stream"


def test_a_byte_order_mark_does_no_harm():
    assert said(parse_request(b'\xef\xbb\xbf{"input": "hi"}', graphs=GRAPHS).messages) == [("human", "hi")]


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("messages", [], "input"),
        ("max_tokens", 5, "max_output_tokens"),
        ("strem", True, "stream"),
        ("custom_input", {}, "custom_inputs"),
        ("response_format", {"type": "json_object"}, "text.format"),
        ("reasoning_effort", "low", "reasoning.effort"),
    ],
)
def test_an_unknown_field_is_named_with_the_one_that_was_meant(field: str, value: Any, meant: str):
    error = refusal(**{field: value})

    assert (error.param, error.message) == (field, f"`{field}` is not a field of this API. Did you mean `{meant}`?")


@pytest.mark.parametrize(
    "field", ["stop", "seed", "top_k", "n", "logit_bias", "modalities", "audio", "min_p", "best_of"]
)
def test_a_field_of_another_api_is_not_taken_for_a_misspelling(field: str):
    assert refusal(**{field: 1}).message == (
        f"`{field}` is not a field of this API. Put input for the graph into `custom_inputs`."
    )


API_FIELDS = sorted({*ResponseCreateParamsBase.__annotations__, "stream"})
"""Of OpenAI's Responses API, as its SDK has them."""


@pytest.mark.parametrize("field", API_FIELDS)
def test_every_field_of_the_api_is_served_or_refused_as_a_field_that_is_not_served(field: str):
    values: list[Any] = [None, "x", 1, True, {"id": "x", "type": "x"}, [{"type": "x"}], {"name": "x"}]
    told = {f"{type(error).__name__}: {error.message}" for value in values if (error := refused(**{field: value}))}

    assert not any("not a field" in words or "Did you mean" in words for words in told - {UNKNOWN_X})


UNKNOWN_X = "UnknownGraph: No graph named 'x'; known: assistant, starter."


def refused(**fields: Any) -> RequestError | None:
    try:
        parse(**fields)
    except RequestError as error:
        return error
    return None


def test_what_the_request_said_is_kept_for_the_response_without_its_secrets():
    said = {"temperature": 0, "top_p": 0.5, "user": "u", "instructions": "Use dapi0123456789abcdef0123456789abcdef."}

    assert parse(**said, store=False, input="x").said == {
        **said,
        "instructions": "Use [redacted Databricks token].",
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"previous_response_id": "r"},
            "`previous_response_id` is not supported: responses are not stored; resend the history in `input`.",
        ),
        ({"store": True}, "`store` is not supported: responses are not stored; leave it out."),
        (
            {"context_management": [{"type": "compaction"}]},
            "`context_management` is not supported: nothing is stored, and so there is no key to seal a "
            "summary; send a shorter history in `input`.",
        ),
        (
            {"background": True},
            "`background` is not supported: background runs are not served; leave it out and stream instead.",
        ),
    ],
)
def test_what_is_not_served_is_refused_by_name_with_the_reason(fields: dict[str, Any], message: str):
    error = refusal(**fields)

    assert isinstance(error, UnsupportedField)
    assert (error.status, error.message) == (400, message)


def test_background_needs_a_store_whatever_is_served():
    with pytest.raises(UnsupportedField) as caught:
        parse_request(b'{"input": "hi", "background": true}', graphs=GRAPHS, background_served=True)

    assert caught.value.param == "background"


def test_serving_background_runs_serves_nothing_else():
    with pytest.raises(UnsupportedField) as caught:
        parse_request(b'{"input": "hi", "prompt": {"id": "p"}}', graphs=GRAPHS, background_served=True)

    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    "items",
    [
        [{"role": "system", "content": "Say hello."}],
        [{"role": "developer", "content": "Say hello."}],
        [{"type": "function_call_output", "call_id": "c1", "output": "3"}],
        [{"type": "mcp_approval_response", "approval_request_id": "a1", "approve": False}],
        [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
    ],
)
def test_a_person_an_instruction_a_result_or_a_decision_can_be_answered(items: list[Any]):
    assert parse(input=items).messages


def test_a_message_says_what_was_expected_and_what_came():
    error = refusal(input=[{"role": "user", "content": [{"type": "input_text", "text": 5}]}])

    assert (error.param, error.message) == (
        "input[0].content[0].text",
        "`input[0].content[0].text` must be a string; got an integer.",
    )


def test_the_corpus_is_large_and_without_repeats():
    assert len({body for _, body, _ in MALFORMED}) == len({name for name, _, _ in MALFORMED}) == len(MALFORMED) > 400


@pytest.mark.parametrize(("body", "param"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_malformed_body_is_a_4xx_that_names_the_field_and_repeats_no_value(body: bytes, param: str | None):
    with pytest.raises(InvalidRequest) as caught:
        parse_request(body, graphs=GRAPHS)

    error = caught.value
    answer = json.dumps(error.body(), ensure_ascii=False).encode()
    assert error.param == param
    assert 400 <= error.status < 500
    assert LEAK.encode() not in answer
    assert len(answer) < 1000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
RICH: dict[str, Any] = {
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "3"}]},
        {"type": "mcp_call", "id": "m1", "name": "add", "arguments": "{}", "output": None, "error": {"message": "no"}},
        {"type": "mcp_approval_request", "id": "a1", "name": "add", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": True},
    ],
    "metadata": {"a": "b"},
    "context": {"conversation_id": "c"},
    "custom_inputs": {"thread_id": "t"},
    "text": {"format": {"type": "text"}},
    "tools": [],
    "stream": True,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in inner for place in places(entry, (*path, key)))]


def with_value(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = with_value(whole[path[0]], path[1:], value)
    if isinstance(whole, dict):
        return {**whole, path[0]: changed}
    return [*whole[: path[0]], changed, *whole[path[0] + 1 :]]


def outcome(body: bytes) -> str:
    """Anything but these two, an exception of another kind above all, breaks the test."""
    try:
        parse_request(body, graphs=GRAPHS)
    except RequestError as error:
        json.dumps(error.body(), ensure_ascii=False).encode()
        return "refused"
    return "served"


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(places(RICH)), VALUES)
def test_one_value_replaced_by_any_other_is_served_or_refused_but_never_breaks(path: tuple[Any, ...], value: Any):
    body = json.dumps(with_value(RICH, path, value)).encode()

    assert outcome(body) in ("served", "refused")


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_served_or_refused_but_never_break(body: bytes):
    with pytest.raises(InvalidRequest):
        parse_request(body, graphs=GRAPHS)
