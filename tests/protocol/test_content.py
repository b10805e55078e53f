from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage

from graph_agent.protocol.messages import annotations_of, output_text, reasoning_of, text_of


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("", ""),
        ("hi", "hi"),
        ([], ""),
        (["a", {"type": "text", "text": "b"}, {"type": "output_text", "text": "c"}], "abc"),
        ([{"type": "text", "text": "a", "index": 0, "annotations": []}], "a"),
        (
            [
                {"type": "reasoning", "reasoning": "no"},
                {"type": "thinking", "thinking": "no"},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "no"}]},
                {"type": "tool_use", "name": "no", "input": {}},
                {"type": "image_url", "image_url": {"url": "no"}},
                {"type": "text", "text": None},
                {"text": "no"},
            ],
            "",
        ),
    ],
)
def test_only_text_is_visible(content: Any, text: str):
    assert text_of(content) == text


@pytest.mark.parametrize(
    ("message", "thought"),
    [
        (AIMessageChunk("hi"), ""),
        (AIMessage([{"type": "text", "text": "hi"}]), ""),
        (AIMessage([{"type": "thinking", "thinking": "a", "signature": "s"}]), "a"),
        (AIMessage([{"type": "reasoning", "reasoning": "a"}, {"type": "reasoning", "reasoning": "b"}]), "a\n\nb"),
        (AIMessage([{"type": "reasoning", "summary": "a"}]), "a"),
        (
            AIMessage([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {}, "x"]}]),
            "a",
        ),
        (AIMessageChunk("", additional_kwargs={"reasoning_content": "a"}), "a"),
        (AIMessage("", additional_kwargs={"reasoning_content": None}), ""),
        (
            AIMessage([{"type": "thinking", "thinking": "a"}], additional_kwargs={"reasoning_content": "the same"}),
            "a",
        ),
    ],
)
def test_reasoning_is_read_in_each_dialect(message: BaseMessage, thought: str):
    assert reasoning_of(message) == thought


def test_a_plain_answer_has_no_annotations():
    assert annotations_of(AIMessage("See [1].")) == []


def test_annotations_count_from_the_start_of_the_whole_text():
    message = AIMessage(
        [
            {"type": "reasoning", "reasoning": "not counted"},
            "abc",
            {
                "type": "text",
                "text": "de",
                "annotations": [
                    {
                        "type": "citation",
                        "url": "u1",
                        "title": "T",
                        "start_index": 0,
                        "end_index": 1,
                        "cited_text": "d",
                    },
                    {"type": "citation", "url": "u2"},
                    {"type": "citation", "title": "no address"},
                    {"type": "file_citation", "file_id": "f"},
                ],
            },
            {
                "type": "output_text",
                "text": "f",
                "annotations": [
                    {"type": "url_citation", "url": "u3", "title": "T", "start_index": 0, "end_index": 1},
                    {"type": "url_citation", "url_citation": {"url": "u4", "start_index": 0, "end_index": 1}},
                ],
            },
        ]
    )

    assert annotations_of(message) == [
        {"type": "url_citation", "url": "u1", "title": "T", "start_index": 3, "end_index": 4},
        {"type": "url_citation", "url": "u2", "title": "u2", "start_index": 3, "end_index": 5},
        {"type": "url_citation", "url": "u3", "title": "T", "start_index": 5, "end_index": 6},
        {"type": "url_citation", "url": "u4", "title": "u4", "start_index": 5, "end_index": 6},
    ]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("3", "3"),
        ("", ""),
        ([], ""),
        (["a", {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "json", "json": {"wo": "Köln", "n": None}}], '{"type":"json","json":{"wo":"Köln","n":null}}'),
        ([{"type": "raw", "data": b"secret"}], '{"type":"raw","data":"(bytes)"}'),
    ],
)
def test_a_tools_result_is_text_or_compact_json_and_never_a_repr(content: Any, text: str):
    assert output_text(ToolMessage(content, tool_call_id="c1")) == text
