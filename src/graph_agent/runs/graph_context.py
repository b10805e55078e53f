"""The run's context object, for graphs that declare a `context_schema`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from graph_agent.answer_form import AnswerForm
from graph_agent.client_tools import NO_TOOLS, ClientTools
from graph_agent.contract import AgentContext
from graph_agent.errors import InvalidRequest
from graph_agent.identity.caller import Caller


def fill_context(
    schema: type[Any] | None,
    *,
    caller: Caller,
    thread: str | None,
    custom_inputs: Mapping[str, Any],
    client: ClientTools = NO_TOOLS,
    answer_form: AnswerForm | None = None,
) -> Any:
    """The object that a graph gets as `runtime.context`, or `None`.

    `AgentContext` gets the verified caller and the tools of the client. Any other schema gets only fields of
    `custom_inputs`, by name, so that the request's body can never say who is calling.

    Raises:
        InvalidRequest: `custom_inputs` names some fields of the schema but lacks a required one, or has a wrong type.
    """
    if schema is None:
        return None
    if isinstance(schema, type) and issubclass(schema, AgentContext):
        return schema(
            caller=caller,
            thread=thread,
            custom_inputs=dict(custom_inputs),
            tools=tuple(client.schemas),
            tool_choice=client.choice,
            parallel_tool_calls=client.parallel,
            answer_form=answer_form,
        )
    names = _field_names(schema)
    values = {name: custom_inputs[name] for name in names if name in custom_inputs}
    if not dataclasses.is_dataclass(schema) and not _is_model(schema):
        return values
    try:
        return schema(**values)
    except Exception as error:  # noqa: BLE001 - the schema is third-party code
        # The request has no fields for this schema: the graph then runs without a context.
        if not values:
            return None
        raise _misfit(schema, values, error) from None


def _misfit(schema: Any, values: Mapping[str, Any], error: Exception) -> InvalidRequest:
    """Say what is wrong with the values without quoting them or the exception, which comes from third-party code."""
    if isinstance(error, ValidationError) and (steps := error.errors()[0]["loc"]):
        param = ".".join(["custom_inputs", *map(str, steps)])
        return InvalidRequest(f"{param} does not fit this graph's context", param=param)
    if missing := sorted(_required(schema) - values.keys()):
        message = f"custom_inputs lacks {', '.join(missing)}, which the context of this graph requires"
        return InvalidRequest(message, param=f"custom_inputs.{missing[0]}")
    return InvalidRequest("custom_inputs does not fit this graph's context", param="custom_inputs")


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _field_names(schema: Any) -> list[str]:
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema) if field.init]
    if _is_model(schema):
        return list(schema.model_fields)
    return list(getattr(schema, "__annotations__", {}))


def _required(schema: Any) -> set[str]:
    if not dataclasses.is_dataclass(schema):
        return set()
    missing = dataclasses.MISSING
    return {
        field.name
        for field in dataclasses.fields(schema)
        if field.init and field.default is missing and field.default_factory is missing
    }
