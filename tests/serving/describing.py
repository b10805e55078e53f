"""Compares answers with the description of the API at `/openapi.json`."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs


def flaws(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What of a value its schema does not allow."""
    validator = jsonschema_rs.Draft202012Validator(schema)
    return [f"{'/'.join(map(str, one.instance_path))}: {one.message[:300]}" for one in validator.iter_errors(value)]


def schema_in(described: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A component of the description, with those that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": described["components"]}


def check_answer(described: Mapping[str, Any], operation: Mapping[str, Any], answer: Any) -> None:
    """Check that an operation has this answer."""
    found = operation["responses"][str(answer.status_code)]
    if "$ref" in found:
        found = described["components"]["responses"][found["$ref"].rpartition("/")[2]]
    schema = found["content"]["application/json"]["schema"]
    assert flaws({**schema, "components": described["components"]}, answer.json()) == []
