"""The query parameters of the routes that read the store, and the shape of lists, as OpenAI's API has them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from starlette.requests import Request

from graph_agent.errors import AgentError, InvalidRequest
from graph_agent.protocol.field_checks import Schema, shown
from graph_agent.protocol.wire_schemas import BOOLEAN, STRING, TEXT_OR_NULL, array_of, closed, const
from graph_agent.serving.operations import Parameter
from graph_agent.stores.records import Page

MOST_IN_A_PAGE = 100
LONGEST_ID = 256
"""Characters of an id in an address. Ids that this service issues are shorter."""

MOST_DIGITS = 9
"""Digits of the number of an event."""

_INCLUDED = "Which further fields are wanted. It has no effect, because everything that is stored is returned."

INCLUDE = tuple(
    Parameter(name, {"type": "array", "items": {"type": "string"}}, _INCLUDED) for name in ("include", "include[]")
)
"""The SDKs add the brackets. Only the first is described, because generated clients could not hold both."""

AN_ID: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_ID}

AN_EVENT: Schema = {"type": "integer", "minimum": 0, "maximum": 10**MOST_DIGITS - 1}

A_SWITCH: Schema = {"type": "boolean"}

PAGING = (
    Parameter("limit", {"type": "integer", "minimum": 1, "maximum": MOST_IN_A_PAGE}, "The most entries of the page."),
    Parameter("after", AN_ID, "The id of the last entry that the caller has."),
    Parameter("order", {"type": "string", "enum": ["asc", "desc"]}, "From the oldest or from the newest (default)."),
)


def list_schema(title: str, entry: Schema) -> Schema:
    """The schema of `list_body` with such entries."""
    return closed(
        title,
        {
            "object": const("list"),
            "data": array_of(entry),
            "first_id": TEXT_OR_NULL,
            "last_id": TEXT_OR_NULL,
            "has_more": BOOLEAN,
        },
    )


def deleted_schema(title: str, kind: str) -> Schema:
    """The schema of the answer to a deletion."""
    return closed(title, {"id": STRING, "object": const(kind), "deleted": {"const": True}})


def check_query(request: Request, *known: Parameter) -> Mapping[str, str]:
    """The query parameters.

    Raises:
        InvalidRequest: a parameter is not one of `known`, or occurs twice.
    """
    found: dict[str, str] = {}
    names = [one.name for one in known]
    for name, value in request.query_params.multi_items():
        if name not in names:
            close = difflib.get_close_matches(name[:LONGEST_ID], names, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"it has {', '.join(names)}" if names else "it has none"
            raise InvalidRequest(f"`{shown(name)}` is not a query parameter of this address; {hint}", param=shown(name))
        if name in found and not name.startswith("include"):
            raise InvalidRequest(f"`{name}` occurs twice in the query; send it once", param=name)
        found[name] = value
    return found


def page_of(request: Request, *more: Parameter) -> Page:
    """The page that the query asks for. `more` are further parameters that the address has.

    Raises:
        InvalidRequest: a parameter is unknown or wrong.
    """
    query = check_query(request, *PAGING, *more)
    return Page(limit=_limit(query.get("limit")), after=_after(query.get("after")), order=_order(query.get("order")))


def event_number(text: str | None, *, param: str) -> int | None:
    """The number of an event, which a reader has got last.

    Raises:
        InvalidRequest: it is not a number.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS):
        raise InvalidRequest(
            f"`{param}` must be the `sequence_number` of the last event that you have, a whole number from 0",
            param=param,
        )
    return int(text)


def switch(text: str | None, *, param: str) -> bool:
    """Whether a parameter is `true`. Absent means `false`.

    Raises:
        InvalidRequest: it is neither `true` nor `false`.
    """
    match text:
        case None | "false":
            return False
        case "true":
            return True
    raise InvalidRequest(f"`{param}` must be true or false", param=param)


def _limit(text: str | None) -> int:
    if text is None:
        return Page().limit
    # `isascii`, because `isdecimal` accepts the digits of every script.
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= MOST_IN_A_PAGE):
        raise InvalidRequest(f"`limit` must be a whole number from 1 to {MOST_IN_A_PAGE}", param="limit")
    return int(text)


def _after(text: str | None) -> str | None:
    if text is not None and not is_plausible_id(text):
        raise no_such_entry()
    return text


def _order(text: str | None) -> Literal["asc", "desc"]:
    match text:
        case None | "desc":
            return "desc"
        case "asc":
            return "asc"
    raise InvalidRequest("`order` must be asc or desc", param="order")


def is_plausible_id(text: str) -> bool:
    """Whether the text can be an id. No id has other characters, and some databases cannot even look them up."""
    return 0 < len(text) <= LONGEST_ID and text.isprintable()


def id_in(request: Request, missing: AgentError, *, name: str = "id") -> str:
    """The id in the address of a request.

    Raises:
        AgentError: `missing`, if no such id was ever given out.
    """
    text: str = request.path_params[name]
    if not is_plausible_id(text):
        raise missing
    return text


def no_such_entry() -> InvalidRequest:
    """The error for an `after` that is not in the list."""
    return InvalidRequest("`after` is not the id of an entry of this list", param="after")


def page_through(entries: Sequence[Mapping[str, Any]], page: Page) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """A page of entries that are given from the oldest to the newest, and whether there are more.

    Raises:
        InvalidRequest: `after` is not in the list.
    """
    ordered = list(entries) if page.order == "asc" else list(reversed(entries))
    begins = 0
    if page.after is not None:
        begins = next((place + 1 for place, entry in enumerate(ordered) if entry.get("id") == page.after), 0)
        if not begins:
            raise no_such_entry()
    ends = begins + page.limit
    return ordered[begins:ends], ends < len(ordered)


def list_body(entries: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """The body of a list."""
    return {
        "object": "list",
        "data": list(entries),
        "first_id": entries[0].get("id") if entries else None,
        "last_id": entries[-1].get("id") if entries else None,
        "has_more": has_more,
    }
