"""The address of a trace for people, and the setting that it is made from."""

import pytest

from graph_agent.errors import BadSetting
from graph_agent.settings import Settings
from graph_agent.trace_links import trace_link


@pytest.mark.parametrize(
    "template",
    [
        "https://traces.example/{trace_id}",
        "http://localhost:5000/#/experiments/1/traces?selected={trace_id}",
        "https://traces.example/?of={response_id}&trace={trace_id}",
    ],
)
def test_a_web_address_with_an_id_behind_its_host_is_taken(template: str) -> None:
    assert Settings(trace_url=template).trace_url == template


@pytest.mark.parametrize(
    "template",
    [
        "https://traces.example/",
        "https://traces.example/{trace}",
        "https://traces.example/{trace_id}/{0}",
        "https://traces.example/{trace_id!r}",
        "https://{trace_id}.example/",
        "https://{trace_id}/",
        "https://user:word@traces.example/{trace_id}",
        "https:///{trace_id}",
        "https://traces.example:port/{trace_id}",
        "https://[traces/{trace_id}",
        "javascript:alert('{trace_id}')",
        "data:text/html,{trace_id}",
        "//traces.example/{trace_id}",
        "https://traces.example/ {trace_id}",
        "java\nscript:{trace_id}",
        "https://traces.example/{trace_id}" + "x" * 2000,
    ],
)
def test_any_other_form_stops_the_start_and_names_the_setting(template: str) -> None:
    with pytest.raises(BadSetting, match="GRAPH_AGENT_TRACE_URL must be"):
        Settings(trace_url=template)


def test_an_id_cannot_leave_its_place_in_the_address() -> None:
    link = trace_link(
        "https://t.example/{trace_id}?r={response_id}", trace="trace:/a.b/../?x#{response_id}", response="r&1"
    )
    assert link == "https://t.example/trace%3A%2Fa.b%2F..%2F%3Fx%23%7Bresponse_id%7D?r=r%261"


@pytest.mark.parametrize(("template", "trace"), [(None, "tr-1"), ("https://t.example/{trace_id}", None)])
def test_without_a_setting_or_a_trace_there_is_no_address(template: str | None, trace: str | None) -> None:
    assert trace_link(template, trace=trace, response="resp_1") is None
