"""Unity Catalog functions and a SQL warehouse of the stand-in: metadata, and statements whose results a test sets."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

METADATA = "/api/2.1/unity-catalog/functions/"
STATEMENTS = "/api/2.0/sql/statements"


def parameter(name: str, kind: str, text: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a parameter of a function in the format of Unity Catalog."""
    return {"name": name, "type_name": kind, "type_text": text or kind.lower(), "position": 0, **more}


def function(name: str, *parameters: dict[str, Any], returns: str = "STRING", comment: str = "") -> dict[str, Any]:
    """Return a function in the format of Unity Catalog."""
    catalog, schema, short = name.split(".")
    placed = [{**one, "position": number} for number, one in enumerate(parameters)]
    return {
        "full_name": name,
        "name": short,
        "catalog_name": catalog,
        "schema_name": schema,
        "data_type": returns,
        "comment": comment,
        "input_params": {"parameters": placed},
    }


def rows(columns: list[str], *values: list[str | None], truncated: bool = False) -> dict[str, Any]:
    """Return a statement that succeeded with these rows."""
    described = [{"name": name, "type_name": "STRING", "position": at} for at, name in enumerate(columns)]
    return {
        "statement_id": "s1",
        "status": {"state": "SUCCEEDED"},
        "manifest": {"schema": {"column_count": len(columns), "columns": described}, "truncated": truncated},
        "result": {"data_array": list(values)},
    }


RUNNING = {"statement_id": "s1", "status": {"state": "RUNNING"}}


def failed(message: str) -> dict[str, Any]:
    """Return a statement that failed with this message."""
    error = {"error_code": "BAD_REQUEST", "message": message}
    return {"statement_id": "s1", "status": {"state": "FAILED", "error": error}}


def sql_routes(
    functions: list[dict[str, Any]],
    run: Callable[[Mapping[str, Any]], dict[str, Any]],
    later: Callable[[], dict[str, Any]] = lambda: RUNNING,
) -> list[Route]:
    """Return the routes. `run` answers a new statement, and `later` answers each poll of a running one."""
    known = {one["full_name"]: one for one in functions}

    async def read(request: Request) -> Response:
        found = known.get(request.path_params["name"])
        if found is None:
            return JSONResponse({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}, status_code=404)
        return JSONResponse(found)

    async def execute(request: Request) -> Response:
        return JSONResponse(run(await request.json()))

    async def look(request: Request) -> Response:
        return JSONResponse(later())

    async def cancel(request: Request) -> Response:
        return JSONResponse({})

    return [
        Route(METADATA + "{name}", read),
        Route(STATEMENTS, execute, methods=["POST"]),
        Route(STATEMENTS + "/", execute, methods=["POST"]),
        Route(STATEMENTS + "/{id}", look),
        Route(STATEMENTS + "/{id}/cancel", cancel, methods=["POST"]),
    ]
