"""What a log of events says of its response, wherever the log stops."""

from typing import Any

import pytest
from tests.serving.test_recorded_streams import recorded

from graph_agent.errors import LeaseLost
from graph_agent.protocol.events import Event
from graph_agent.protocol.logged_response import LoggedResponse
from graph_agent.protocol.lost_response import lost_end

RECORDINGS = pytest.mark.parametrize("name", ["databricks", "openai", "failed-databricks", "failed-openai"])

HEAD = {"id": "resp-1", "object": "response", "status": "in_progress", "output": []}

LOST = LeaseLost("the process is gone")


def said(item: Any) -> str:
    """All that an item says."""
    parts = item.get("content") or item.get("summary") or []
    return "".join(part.get("text", "") for part in parts) + str(item.get("arguments") or "")


def deltas(events: list[Event], index: int) -> str:
    """All that was streamed of an item."""
    return "".join(one["delta"] for one in events if one.get("output_index") == index and "delta" in one)


@RECORDINGS
def test_the_output_so_far_is_what_was_streamed_so_far(name: str) -> None:
    events = recorded(name)
    for count in range(len(events)):
        so_far = LoggedResponse.read(events[:count]).so_far(HEAD)
        opened = [one for one in events[:count] if one["type"] == "response.output_item.added"]
        assert [item["id"] for item in so_far["output"]] == [one["item"]["id"] for one in opened]
        closed = {one["output_index"] for one in events[:count] if one["type"] == "response.output_item.done"}
        for one, item in zip(opened, so_far["output"], strict=True):
            streamed = deltas(events[:count], one["output_index"])
            assert said(item) == streamed or (one["output_index"] in closed and said(item).endswith(streamed))
            if one["output_index"] not in closed and item["type"] != "function_call_output":
                assert item.get("status", "in_progress") == "in_progress"
        assert so_far["status"] == "in_progress"
    assert LoggedResponse.read(events).so_far(HEAD) == events[-1]["response"]


@RECORDINGS
def test_a_log_whose_process_is_gone_ends_wherever_it_stops(name: str) -> None:
    events = recorded(name)
    for count in range(len(events)):
        so_far = LoggedResponse.read(events[:count]).so_far(HEAD)
        end = list(lost_end(LoggedResponse.read(events[:count]), LOST, head=HEAD))
        response = end[-1]["response"]
        assert [one["type"] for one in end[-2:]] == ["error", "response.failed"]
        assert (response["status"], response["error"]["code"]) == ("failed", "process_lost")
        assert [said(item) for item in response["output"][: len(so_far["output"])]] == list(map(said, so_far["output"]))
        whole = [*events[:count], *end]
        opened, closed = (
            [one["output_index"] for one in whole if one["type"] == f"response.output_item.{kind}"]
            for kind in ("added", "done")
        )
        assert sorted(opened) == sorted(closed) == [*range(len(opened))]
        assert not any(item.get("status") == "in_progress" for item in response["output"])
        calls = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
        results = [item["call_id"] for item in response["output"] if item["type"] == "function_call_output"]
        assert calls == results
