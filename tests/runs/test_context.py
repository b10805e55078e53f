"""The context a graph gets: the verified caller for ours, `custom_inputs` by field name for a stranger's."""

from dataclasses import dataclass, field
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from graph_agent.contract import AgentContext
from graph_agent.errors import InvalidRequest
from graph_agent.identity.caller import Caller
from graph_agent.runs.graph_context import fill_context

PASSWORD = "hunter2"


def filled(schema: Any, **inputs: Any) -> Any:
    return fill_context(schema, caller=Caller("ann"), thread="t", custom_inputs=inputs)


def test_ours_holds_the_verified_caller_whatever_the_body_says() -> None:
    context = filled(AgentContext, caller="root", thread="other", tone="calm")
    assert context == AgentContext(
        caller=Caller("ann"), thread="t", custom_inputs={"caller": "root", "thread": "other", "tone": "calm"}
    )


@dataclass
class Theirs:
    tone: str
    length: int = 3
    made: int = field(default=0, init=False)


def test_a_dataclass_is_filled_by_field_name() -> None:
    assert filled(Theirs, tone="calm", other=1, made=9) == Theirs("calm")


def test_a_dataclass_with_required_fields_and_nothing_sent_is_none() -> None:
    assert filled(Theirs) is None
    assert filled(Theirs, other=1) is None


def test_a_required_field_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        filled(Theirs, length=1)
    assert raised.value.param == "custom_inputs.tone"
    assert raised.value.message == "custom_inputs lacks tone, which the context of this graph requires"


class Model(BaseModel):
    tone: str
    length: int = 3


def test_a_pydantic_model_is_checked_and_the_field_named() -> None:
    assert filled(Model, tone="calm", length="4") == Model(tone="calm", length=4)
    assert filled(Model) is None
    with pytest.raises(InvalidRequest) as raised:
        filled(Model, tone="calm", length=PASSWORD)
    assert raised.value.param == "custom_inputs.length"
    assert PASSWORD not in raised.value.message


class Words(TypedDict, total=False):
    tone: str


def test_a_typed_dict_gets_its_keys_only() -> None:
    assert filled(Words, tone="calm", other=1) == {"tone": "calm"}
    assert filled(Words) == {}


def test_no_schema_is_no_context() -> None:
    assert filled(None, tone="calm") is None


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError])
def test_a_context_that_refuses_its_values_is_a_wrong_request(error: type[Exception]) -> None:
    @dataclass
    class Fussy:
        tone: str

        def __post_init__(self) -> None:
            raise error(PASSWORD)

    with pytest.raises(InvalidRequest) as raised:
        filled(Fussy, tone="loud")
    assert raised.value.param == "custom_inputs"
    assert raised.value.message == "custom_inputs does not fit this graph's context"
