import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_messages,
)

from graph_agent.errors import InvalidRequest
from graph_agent.protocol.messages import KEPT, to_items, to_messages

Item = dict[str, Any]

ASK = {"type": "message", "id": "msg_ask", "role": "user", "content": "hi"}


def call(call_id: str, name: str = "add", arguments: str = '{"a": 1}') -> Item:
    return {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": arguments}


def output(call_id: str, text: Any = "3") -> Item:
    return {"type": "function_call_output", "id": f"fco_{call_id}", "call_id": call_id, "output": text}


def answer(text: str, item_id: str = "msg_answer") -> Item:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": content}


def outline(messages: list[BaseMessage]) -> list[tuple[Any, ...]]:
    """What a chat model would see."""
    return [line(message) for message in messages]


def spelled(item: Item) -> str:
    return json.dumps(item, sort_keys=True)


def line(message: BaseMessage) -> tuple[Any, ...]:
    match message:
        case AIMessage():
            return ("ai", message.content, [(c["id"], c["name"], c["args"]) for c in message.tool_calls])
        case ToolMessage():
            return ("tool", message.tool_call_id, message.content)
    return (message.type, message.content)


def test_parallel_calls_become_one_message_followed_by_their_results():
    items = [
        ASK,
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "I should add."}]},
        answer("Let me see.", "msg_plan"),
        call("c1"),
        call("c2", "multiply", '{"a":2}'),
        output("c1", "1"),
        output("c2", "2"),
        answer("Three."),
    ]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "Let me see.", [("c1", "add", {"a": 1}), ("c2", "multiply", {"a": 2})]),
        ("tool", "c1", "1"),
        ("tool", "c2", "2"),
        ("ai", "Three.", []),
    ]
    assert [message.id for message in messages] == ["msg_ask", "msg_plan", "fco_c1", "fco_c2", "msg_answer"]
    assert to_items(messages) == items


def test_a_call_made_after_a_result_is_a_step_of_its_own():
    items = [ASK, call("c1"), output("c1"), call("c2"), output("c2"), answer("Three.")]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "", [("c1", "add", {"a": 1})]),
        ("tool", "c1", "3"),
        ("ai", "", [("c2", "add", {"a": 1})]),
        ("tool", "c2", "3"),
        ("ai", "Three.", []),
    ]
    assert to_items(messages) == items


def test_results_move_right_behind_the_calls_of_their_turn():
    items = [ASK, call("c1"), call("c2"), output("c2"), answer("Wait."), {**ASK, "id": "msg_2"}, output("c1")]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "", [("c1", "add", {"a": 1}), ("c2", "add", {"a": 1})]),
        ("tool", "c2", "3"),
        ("tool", "c1", "3"),
        ("ai", "Wait.", []),
        ("human", "hi"),
    ]
    assert to_items(messages) == [*items[:4], items[6], items[4], items[5]]


def test_text_after_a_call_is_a_message_of_its_own_behind_the_result():
    assert outline(to_messages([call("c1"), answer("Three."), output("c1")])) == [
        ("ai", "", [("c1", "add", {"a": 1})]),
        ("tool", "c1", "3"),
        ("ai", "Three.", []),
    ]


def test_a_result_that_stands_before_its_call_is_put_behind_it():
    assert outline(to_messages([output("c1"), call("c1")])) == [
        ("ai", "", [("c1", "add", {"a": 1})]),
        ("tool", "c1", "3"),
    ]


def test_a_call_whose_run_broke_gets_a_result_that_says_so_and_gives_none_back():
    items = [ASK, call("c1"), call("c2"), output("c1"), {**ASK, "id": "msg_2"}]

    messages = to_messages(items)

    assert outline(messages)[1:4] == [
        ("ai", "", [("c1", "add", {"a": 1}), ("c2", "add", {"a": 1})]),
        ("tool", "c1", "3"),
        ("tool", "c2", "No result of this call was recorded."),
    ]
    assert to_items(messages) == items


def test_a_result_without_its_call_gets_a_call_of_an_unknown_tool_and_gives_none_back():
    items = [ASK, output("c1"), answer("Three.")]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "", [("c1", "unknown_tool", {})]),
        ("tool", "c1", "3"),
        ("ai", "Three.", []),
    ]
    assert to_items(messages) == items


def test_a_call_sent_twice_in_other_spelling_is_one_call():
    twice = {**call("c1", arguments='{"a":1}'), "id": "fc_again"}
    items = [call("c1"), twice, output("c1"), output("c1")]

    messages = to_messages(items)

    assert outline(messages) == [("ai", "", [("c1", "add", {"a": 1})]), ("tool", "c1", "3")]
    assert Counter(map(spelled, to_items(messages))) == Counter(map(spelled, items))


def test_two_different_calls_of_one_id_are_refused_by_path():
    with pytest.raises(InvalidRequest) as caught:
        to_messages([ASK, call("c1"), call("c1", "multiply"), output("c1")])

    assert (caught.value.param, caught.value.message) == (
        "input[2].call_id",
        "`input[2].call_id` is already used by `input[1]`.",
    )


@pytest.mark.parametrize(
    ("arguments", "args"),
    [
        ("", {}),
        ('{"a": {"b": [1, null]}}', {"a": {"b": [1, None]}}),
        ('{"a": ', {"arguments": '{"a": '}),
        ("[1]", {"arguments": "[1]"}),
        ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
        ('{"a": "\\ud800"}', {"arguments": '{"a": "\\ud800"}'}),
        ("[" * 5000, {"arguments": "[" * 5000}),
    ],
)
def test_a_call_with_arguments_no_one_can_read_does_not_end_the_conversation(arguments: str, args: dict[str, Any]):
    items = [call("c1", arguments=arguments), output("c1")]

    messages = to_messages(items)

    assert messages[0].tool_calls[0]["args"] == args
    assert to_items(messages) == items


@pytest.mark.parametrize(
    ("outcome", "content", "status"),
    [
        ({"output": "3", "error": None}, "3", "success"),
        ({"output": None, "error": "no such host"}, "no such host", "error"),
        ({"output": None, "error": {"type": "http", "code": 502, "message": "bad"}}, "bad", "error"),
        ({"output": None, "error": None, "status": "in_progress"}, "No result of this call was recorded.", "error"),
    ],
)
def test_an_mcp_call_is_a_call_and_its_result(outcome: Item, content: str, status: str):
    mcp = {"type": "mcp_call", "id": "mcp_1", "name": "add", "arguments": "{}", "server_label": "agent", **outcome}
    items = [ASK, mcp, answer("Three.")]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "", [("mcp_1", "add", {})]),
        ("tool", "mcp_1", content),
        ("ai", "Three.", []),
    ]
    assert (messages[2].name, messages[2].status) == ("add", status)
    assert to_items(messages) == items


REQUEST = {"type": "mcp_approval_request", "id": "a1", "name": "send", "arguments": "{}", "server_label": "agent"}


def decision(approve: bool) -> Item:
    return {"type": "mcp_approval_response", "id": "a1", "approval_request_id": "a1", "approve": approve}


@pytest.mark.parametrize(
    ("rest", "content"),
    [
        ([], "No result of this call was recorded."),
        ([decision(True)], "The user approved this call; no result of it was recorded."),
        ([decision(False)], "The user denied this call; it was not made."),
        ([decision(True), output("a1", "sent")], "sent"),
        ([output("a1", "sent")], "sent"),
    ],
)
def test_an_approval_is_a_call_whose_result_is_the_decision_or_what_came_of_it(rest: list[Item], content: str):
    items = [ASK, REQUEST, *rest, {**ASK, "id": "msg_2"}]

    messages = to_messages(items)

    assert outline(messages) == [
        ("human", "hi"),
        ("ai", "", [("a1", "send", {})]),
        ("tool", "a1", content),
        ("human", "hi"),
    ]
    assert to_items(messages) == items


def test_a_decision_about_a_call_not_resent_is_kept():
    items = [decision(True)]

    messages = to_messages(items)

    assert outline(messages) == [
        ("ai", "", [("a1", "unknown_tool", {})]),
        ("tool", "a1", "The user approved this call; no result of it was recorded."),
    ]
    assert to_items(messages) == items


def test_an_mcp_call_that_names_its_approval_is_the_only_call():
    mcp = {
        "type": "mcp_call",
        "id": "m1",
        "name": "send",
        "arguments": "{}",
        "output": "ok",
        "approval_request_id": "a1",
    }
    items = [ASK, REQUEST, decision(True), mcp]

    messages = to_messages(items)

    assert outline(messages) == [("human", "hi"), ("ai", "", [("m1", "send", {})]), ("tool", "m1", "ok")]
    assert to_items(messages) == items


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ([{"type": "input_text", "text": "hi"}], "hi"),
        ([{"type": "text", "text": "hi"}], "hi"),
        (
            [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        ),
        (
            [{"type": "input_text", "text": "what?"}, IMAGE],
            [
                {"type": "text", "text": "what?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
            ],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
            [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
        ),
        (
            [{"type": "image_url", "image_url": "https://x/y.png"}],
            [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
        ),
        (
            [{"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}],
            [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}],
        ),
        (
            [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}],
            [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}],
        ),
        (
            [{"type": "input_image", "image_url": "https://x/y.png", "file_id": "file_1"}],
            [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
        ),
        ([], ""),
    ],
)
def test_content_parts_become_the_blocks_that_chat_models_take(parts: list[Item], content: Any):
    items = [{**ASK, "content": parts}, call("c1"), output("c1", parts)]

    messages = to_messages(items)

    assert outline(messages) == [("human", content), ("ai", "", [("c1", "add", {"a": 1})]), ("tool", "c1", content)]
    assert to_items(messages) == items


def test_an_assistants_parts_are_read_as_one_text_and_keep_their_annotations():
    cited = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}
    parts = [
        {"type": "output_text", "text": "No: ", "annotations": [cited]},
        {"type": "refusal", "refusal": "I must not."},
    ]
    items = [ASK, {**answer(""), "phase": "final_answer", "content": parts}]

    messages = to_messages(items)

    assert outline(messages)[1] == ("ai", "No: I must not.", [])
    assert to_items(messages) == items


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("user", HumanMessage("hi", id="m")),
        ("system", SystemMessage("hi", id="m")),
        ("developer", SystemMessage("hi", id="m", additional_kwargs={"__openai_role__": "developer"})),
    ],
)
def test_a_role_becomes_its_message(role: str, expected: BaseMessage):
    items = [{"type": "message", "id": "m", "role": role, "content": "hi"}]

    messages = to_messages(items)

    assert messages == [expected]
    assert to_items(messages) == items


def test_what_no_model_should_read_travels_with_a_message_in_its_place():
    listed = {"type": "mcp_list_tools", "id": "l1", "server_label": "agent", "tools": []}
    search = {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"query": "q"}}
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xyz"}
    items = [listed, ASK, search, thought, answer("Found."), {"type": "hologram", "beam": [1]}]

    messages = to_messages(items)

    assert outline(messages) == [("human", "hi"), ("ai", "Found.", [])]
    assert to_items(messages) == items


def test_an_assistants_message_without_text_is_kept_and_not_shown():
    items = [ASK, answer("", "msg_empty"), {**ASK, "id": "msg_2"}]

    messages = to_messages(items)

    assert outline(messages) == [("human", "hi"), ("human", "hi")]
    assert to_items(messages) == items


def test_items_of_which_no_model_reads_any_still_come_back():
    items = [{"type": "hologram"}, answer("", "msg_empty")]

    assert to_items(to_messages(items)) == items


def test_type_and_ids_are_filled_in_where_a_client_leaves_them_out():
    bare = [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}", "id": None},
        {"type": "function_call_output", "call_id": "c1", "output": "3"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Three."}]},
    ]

    messages = to_messages(bare)
    items = to_items(messages)

    assert [{**item, "id": None} for item in items] == [
        {"type": "message", "role": "user", "content": "hi", "id": None},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}", "id": None},
        {"type": "function_call_output", "call_id": "c1", "output": "3", "id": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Three."}], "id": None},
    ]
    assert [item["id"] for item in items] == [message.id for message in messages]
    assert items[1]["id"] == "fc_c1"


def test_messages_have_ids_of_their_own_even_where_items_share_one():
    items = [answer("a", "same"), answer("b", "same"), {**ASK, "id": "same"}]

    messages = to_messages(items)

    assert len({message.id for message in messages}) == 3
    assert to_items(messages) == items


def test_originals_are_kept_only_where_the_message_does_not_say_it_all():
    plain = to_messages([ASK, answer("Hello.")])
    called = to_messages([call("c1"), output("c1")])

    assert [KEPT in message.additional_kwargs for message in [*plain, *called]] == [False, False, True, True]


def test_a_message_edited_by_a_graph_gives_back_what_it_says_now():
    secret = {**ASK, "content": [{"type": "input_text", "text": "my number is 123"}]}
    mcp = {"type": "mcp_call", "id": "m1", "name": "look", "arguments": "{}", "output": "123", "server_label": "a"}
    messages = to_messages([secret, mcp, answer("Done.")])

    messages[0].content = "my number is ***"
    messages[2].content = "***"

    assert to_items(messages) == [
        {"type": "message", "id": "msg_ask", "role": "user", "content": "my number is ***"},
        {
            "type": "function_call",
            "id": "fc_m1",
            "call_id": "m1",
            "name": "look",
            "arguments": "{}",
            "status": "completed",
        },
        {
            "type": "function_call_output",
            "id": messages[2].id,
            "call_id": "m1",
            "output": "***",
            "status": "completed",
        },
        answer("Done."),
    ]


def test_messages_of_a_graph_become_items():
    citation = {"type": "citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}
    messages = [
        SystemMessage("Be brief.", id="s"),
        HumanMessage([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "u"}}], id="h"),
        AIMessage(
            [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Let me see."}],
            tool_calls=[{"name": "add", "args": {"wo": "Köln"}, "id": "c1"}],
            invalid_tool_calls=[{"name": "add", "args": '{"a', "id": "c2", "error": "broken"}],
            id="a",
        ),
        ToolMessage([{"type": "text", "text": "3"}, {"type": "json", "json": {"n": 3}}], tool_call_id="c1", id="t"),
        RemoveMessage("h"),
        AIMessage(["It ", {"type": "text", "text": "is 3.", "annotations": [citation]}], id="b"),
    ]

    shared = {"type": "function_call", "status": "completed", "name": "add"}
    assert to_items(messages) == [
        {"type": "message", "id": "s", "role": "system", "content": "Be brief."},
        {
            "type": "message",
            "id": "h",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "u"}],
        },
        {"type": "reasoning", "id": "rs_a", "summary": [{"type": "summary_text", "text": "hm"}]},
        answer("Let me see.", "a"),
        {**shared, "id": "fc_c1", "call_id": "c1", "arguments": '{"wo": "Köln"}'},
        {**shared, "id": "fc_c2", "call_id": "c2", "arguments": '{"a'},
        {
            "type": "function_call_output",
            "id": "t",
            "call_id": "c1",
            "output": '3\n{"type":"json","json":{"n":3}}',
            "status": "completed",
        },
        {
            **answer("It is 3.", "b"),
            "content": [
                {
                    "type": "output_text",
                    "text": "It is 3.",
                    "annotations": [
                        {"type": "url_citation", "url": "u", "title": "t", "start_index": 3, "end_index": 5}
                    ],
                    "logprobs": [],
                }
            ],
        },
    ]


# Properties: any history

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SPOKEN = TEXT.filter(bool)
HIDDEN = st.sampled_from(
    [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}], "content": None},
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "hologram", "beam": {"a": [None, 1.5]}},
        {"type": "mcp_list_tools", "tools": []},
    ]
)
PART = st.one_of(
    TEXT.map(lambda text: {"type": "input_text", "text": text}),
    st.just(IMAGE),
    st.just({"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "file_id": "f"}),
)
CONTENT = TEXT | st.lists(PART, max_size=3)
ASSISTANT_PART = st.one_of(
    SPOKEN.map(lambda text: {"type": "output_text", "text": text, "annotations": [], "logprobs": []}),
    SPOKEN.map(lambda text: {"type": "output_text", "text": text, "annotations": [{"type": "file_citation"}]}),
    SPOKEN.map(lambda text: {"type": "refusal", "refusal": text}),
    SPOKEN.map(lambda text: {"type": "reasoning_text", "text": text}),
)
ARGUMENTS = st.sampled_from(["{}", "", '{"a": 1}', '{"a":1}', "[1]", '{"a', '{"wo": "K\\u00f6ln"}'])
NAMES = st.sampled_from(["add", "search"])


@st.composite
def people(draw: st.DrawFn) -> list[Item]:
    role = draw(st.sampled_from(["user", "system", "developer"]))
    return [{"type": "message", "role": role, "content": draw(CONTENT)}]


@st.composite
def steps(draw: st.DrawFn) -> list[Item]:
    """A model's turn: what it thought, said and called, and what came back, in any order."""
    said = [{"type": "message", "role": "assistant", "content": draw(SPOKEN | st.lists(ASSISTANT_PART, min_size=1))}]
    calls = [
        {"type": "function_call", "name": draw(NAMES), "arguments": draw(ARGUMENTS)}
        for _ in range(draw(st.integers(0, 3)))
    ]
    results = [{"type": "function_call_output", "output": draw(CONTENT)} for _ in calls]
    return [
        *draw(st.lists(HIDDEN, max_size=2)),
        *(said if not calls or draw(st.booleans()) else []),
        *({**call, "pair": index} for index, call in enumerate(calls)),
        *draw(st.permutations([{**result, "pair": index} for index, result in enumerate(results)])),
    ]


MCP_CALLS = st.builds(
    lambda name, arguments, text: [{"type": "mcp_call", "name": name, "arguments": arguments, "output": text}],
    NAMES,
    ARGUMENTS,
    TEXT,
)


@st.composite
def histories(draw: st.DrawFn) -> list[Item]:
    """Histories as a server writes them, every item with an id."""
    items = []
    for turn, part in enumerate(draw(st.lists(people() | steps() | MCP_CALLS, min_size=1, max_size=6))):
        for item in part:
            pair = {"call_id": f"c{turn}_{item['pair']}"} if "pair" in item else {}
            own = {name: value for name, value in item.items() if name != "pair"}
            items.append({"id": f"item_{len(items)}", **own, **pair})
    return items


@st.composite
def broken_histories(draw: st.DrawFn) -> list[Item]:
    """Some items of a history, in any order."""
    items = draw(histories())
    return draw(st.permutations([item for item in items if draw(st.booleans())]))


@settings(deadline=None)
@given(histories())
def test_a_history_comes_back_as_it_was(items: list[Item]):
    assert to_items(to_messages(items)) == items


@settings(deadline=None)
@given(broken_histories())
def test_no_item_of_a_broken_history_is_lost_made_up_or_changed(items: list[Item]):
    once = to_items(to_messages(items))

    assert Counter(map(spelled, once)) == Counter(map(spelled, items))


@settings(deadline=None)
@given(broken_histories())
def test_reading_a_history_that_came_back_gives_the_same_conversation(items: list[Item]):
    messages = to_messages(items)

    assert outline(to_messages(to_items(messages))) == outline(messages)


@settings(deadline=None)
@given(broken_histories())
def test_a_model_gets_calls_and_results_in_pairs_and_no_empty_answer(items: list[Item]):
    messages = to_messages(items)

    waiting: set[str] = set()
    for message in messages:
        if isinstance(message, ToolMessage):
            assert message.tool_call_id in waiting
            waiting.remove(message.tool_call_id)
            continue
        assert not waiting
        if isinstance(message, AIMessage) and len(messages) > 1:
            assert message.content or message.tool_calls
            waiting = {str(call["id"]) for call in message.tool_calls}
        elif isinstance(message, AIMessage):
            waiting = {str(call["id"]) for call in message.tool_calls}
    assert not waiting
    assert len({message.id for message in messages}) == len(messages)


@settings(deadline=None)
@given(broken_histories())
def test_originals_survive_a_checkpoint_and_never_reach_a_model(items: list[Item]):
    messages = to_messages(items)

    restored = [type(message).model_validate_json(message.model_dump_json()) for message in messages]

    assert to_items(restored) == to_items(messages)
    sent = json.dumps(convert_to_openai_messages(messages))
    assert "hologram" not in sent
    assert KEPT not in sent


MESSAGES = st.lists(
    st.one_of(
        st.builds(HumanMessage, SPOKEN),
        st.builds(SystemMessage, SPOKEN),
        st.builds(AIMessage, SPOKEN),
    ),
    min_size=1,
)


@settings(deadline=None)
@given(MESSAGES)
def test_plain_messages_come_back_as_they_were(messages: list[BaseMessage]):
    numbered = [message.model_copy(update={"id": f"m{index}"}) for index, message in enumerate(messages)]

    assert to_messages(to_items(numbered)) == numbered


def test_databricks_and_openai_converters_take_what_a_history_becomes():
    # Here, because importing it takes seconds that the other tests need not wait for.
    from databricks_langchain import chat_models

    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "what?"}, IMAGE]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        answer("Let me see."),
        call("c1"),
        call("c2", arguments='{"a'),
        output("c1"),
        output("c2", [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]),
    ]
    image = {"type": "image_url", "image_url": {"url": IMAGE["image_url"], "detail": "low"}}
    calls = [
        {"type": "function", "id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"type": "function", "id": "c2", "function": {"name": "add", "arguments": '{"arguments": "{\\"a"}'}},
    ]
    heard = [
        {"role": "user", "content": [{"type": "text", "text": "what?"}, image]},
        {"role": "assistant", "content": "Let me see.", "tool_calls": calls},
    ]

    messages = to_messages(items)

    assert [chat_models._convert_message_to_dict(message) for message in messages] == [
        {"role": "system", "content": "Be brief."},
        *heard,
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
    ]
    assert convert_to_openai_messages(messages) == [
        {"role": "developer", "content": "Be brief."},
        *heard,
        {"role": "tool", "name": "add", "tool_call_id": "c1", "content": "3"},
        {"role": "tool", "name": "add", "tool_call_id": "c2", "content": "a\nb"},
    ]
