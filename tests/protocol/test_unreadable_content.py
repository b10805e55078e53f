"""Nothing that a client sends vanishes: what no model would read is refused with its path."""

import json
from typing import Any

import pytest

from graph_agent.errors import RequestError, UnsupportedField
from graph_agent.protocol.messages import to_items
from graph_agent.protocol.requests import Invocation, parse_request

ASK = {"role": "user", "content": "What is this?"}
TEXT = {"type": "input_text", "text": "What is this?"}
PNG = "data:image/png;base64,AA=="


def parse(*items: Any) -> Invocation:
    return parse_request(json.dumps({"input": list(items)}).encode(), graphs=["plain"])


def refusal(*items: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(*items)
    return caught.value


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "hologram", "x": 1}, ".type"),
        ({"type": "input_video", "video_url": "https://x/y.mp4"}, ".type"),
        ({"type": "file", "file": {"file_data": "AA=="}}, ".type"),
        ({"type": "image", "source": {"type": "base64", "data": "AA=="}}, ".type"),
        ({"type": "tool_result", "content": "3"}, ".type"),
        ({"type": "Input_Text", "text": "hi"}, ".type"),
        ({"type": "reasoning_text", "text": "hm"}, ".type"),
        ({"type": "input_file", "file_url": "https://x/y.pdf"}, ".file_url"),
        ({"type": "input_file", "file_id": "file_1"}, ".file_id"),
        ({"type": "input_file", "file_id": "file_1", "file_data": None}, ".file_id"),
        ({"type": "input_image", "file_id": "file_1"}, ".file_id"),
        ({"type": "input_image", "file_id": "file_1", "detail": "low"}, ".file_id"),
    ],
)
def test_a_part_that_no_model_would_see_is_refused_with_its_path(part: Any, param: str) -> None:
    alone = refusal({"role": "user", "content": [part]})
    beside = refusal(ASK, {"role": "user", "content": [TEXT, part]})
    system = refusal(ASK, {"role": "developer", "content": [part]})
    result = refusal(
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [TEXT, part]},
    )

    assert [(error.param, type(error)) for error in (alone, beside, system)] == [
        (f"input[0].content[0]{param}", UnsupportedField),
        (f"input[1].content[1]{param}", UnsupportedField),
        (f"input[1].content[0]{param}", UnsupportedField),
    ]
    assert result.param == f"input[1].output[1]{param}"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "image_url": PNG},
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "input_file", "file_data": "AA=="},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
        {"type": "output_image", "image_url": PNG},
    ],
)
def test_what_models_take_from_users_only_is_refused_in_an_assistants_message(part: Any) -> None:
    spoken = {"role": "assistant", "content": [{"type": "output_text", "text": "Look:"}, part]}

    assert refusal(ASK, spoken, ASK).param == "input[1].content[1].type"


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"type": "human", "content": "hi"}, "content"),
        ({"type": "hologram", "content": [{"type": "input_text", "text": "hi"}]}, "content"),
        ({"type": "input_text", "text": "hi"}, "text"),
        ({"type": "hologram_call", "id": "c", "output": "3"}, "output"),
        ({"type": "compaction", "id": "cmp", "encrypted_content": "xyz"}, "encrypted_content"),
        ({"role": "assistant", "content": "Wait.", "tool_calls": [{"id": "c"}]}, "tool_calls"),
        ({"role": "assistant", "content": "Wait.", "function_call": {"name": "f"}}, "function_call"),
        ({"role": "assistant", "content": "", "refusal": "No."}, "refusal"),
        ({"role": "user", "content": "Look:", "images": ["AAAA"]}, "images"),
        ({"role": "user", "content": "Look:", "attachments": [{"file_id": "f"}]}, "attachments"),
        ({"role": "user", "content": "Look:", "parts": [{"type": "text", "text": "more"}]}, "parts"),
    ],
)
def test_an_item_whose_content_is_not_understood_is_refused_with_its_path(item: Any, field: str) -> None:
    error = refusal(ASK, item, ASK)

    assert (error.param, error.status, error.code) == (f"input[1].{field}", 400, "unsupported_field")


@pytest.mark.parametrize(
    "item",
    [
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "local_shell_call_output", "id": "c", "output": "3"},
        {"type": "image_generation_call", "id": "i", "result": "AAAA"},
        {"type": "code_interpreter_call", "id": "i", "code": "1 + 1", "outputs": None},
        {"type": "file_search_call", "id": "i", "queries": ["q"], "results": [{"text": "found"}]},
        {"type": "tool_search_call", "id": "i", "arguments": {"query": "mail"}},
    ],
)
def test_what_a_hosted_tool_has_done_is_kept_with_a_warning(item: Any) -> None:
    invocation = parse(ASK, item, ASK)

    assert invocation.warnings == (f"No model reads the items of type {item['type']} in `input`.",)
    assert item in to_items(invocation.messages)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "hologram", "beam": [1]},
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": [{"name": "f"}]},
        {"type": "file_search_call", "id": "i", "queries": ["q"], "status": "completed", "results": None},
        {"type": "image_generation_call", "id": "i", "status": "failed", "result": None},
        {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "xyz"},
        {"role": "assistant", "content": "Wait.", "tool_calls": [], "function_call": None, "refusal": None},
        {"role": "assistant", "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "user", "content": "Look:", "name": "Ann", "phase": None, "images": []},
    ],
)
def test_what_holds_nothing_for_a_model_does_no_harm(item: Any) -> None:
    assert parse(ASK, item, ASK).messages


@pytest.mark.parametrize(
    "content", ["", " \n\t ", [], [TEXT | {"text": ""}], [TEXT | {"text": " "}, TEXT | {"text": "\n"}]]
)
@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_an_empty_prompt_leaves_nothing_to_answer(role: str, content: Any) -> None:
    error = refusal({"role": role, "content": content})

    assert (error.param, error.status) == ("input", 400)


def test_an_image_without_a_word_is_something_to_answer() -> None:
    assert parse({"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}).messages


def test_the_refusal_says_what_is_understood() -> None:
    error = refusal({"role": "user", "content": [{"type": "hologram\n" + "x" * 200}]})

    assert "Known types: input_text, output_text" in error.message
    assert len(error.message) < 400
    assert "\n" not in error.message
