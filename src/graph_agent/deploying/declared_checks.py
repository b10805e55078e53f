"""Checks that the Apps API understands what the bundle declares. The SDK silently drops what it does not know."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from graph_agent.errors import BadBundle

APP_NAME = re.compile(r"[a-z0-9-]+")
LONGEST_NAME = 30
"""The Apps API's limit for the name of an app, in characters."""

PRINCIPALS = ("user_name", "group_name", "service_principal_name")


def check_declared(app: str, declared: Mapping[str, Any], permissions: Sequence[Any]) -> Iterator[BadBundle]:
    """The problems of an app's name, fields and permissions that the Apps API would not accept."""
    from databricks.sdk.service.apps import App, AppPermissionLevel

    if not APP_NAME.fullmatch(app):
        yield BadBundle(
            f"the name of an app may have only lowercase letters, digits and hyphens: {app!r}", param="name"
        )
    elif not 2 <= len(app) <= LONGEST_NAME or app.startswith("-") or app.endswith("-"):
        yield BadBundle(
            f"the name of an app must have 2 to {LONGEST_NAME} characters, and begin and end with a letter or digit:"
            f" {app!r} has {len(app)} characters",
            param="name",
        )
    for name, value in declared.items():
        # A round trip through the SDK's class shows what it would drop.
        try:
            understood = App.from_dict({"name": app, name: value}).as_dict()
        except (AttributeError, TypeError, KeyError):
            understood = {}
        if not contains(understood.get(name), value):
            yield BadBundle(
                f"the Apps API does not accept this {name}: {_first_lost(understood.get(name), value)}", param=name
            )
    names = [one.get("name") for one in declared.get("resources") or ()]
    if not all(names) or len(set(names)) < len(names):
        yield BadBundle(f"every resource of the app needs a unique name; the names are {names}", param="resources")
    levels = [level.value for level in AppPermissionLevel]
    for one in permissions:
        if not isinstance(one, dict) or one.get("level") not in levels or sum(key in one for key in PRINCIPALS) != 1:
            yield BadBundle(
                f"a permission needs a level ({' or '.join(levels)}) and one of {', '.join(PRINCIPALS)}: {one}",
                param="permissions",
            )


def contains(actual: Any, declared: Any) -> bool:
    """Whether `actual` has everything that was declared. The platform adds fields and reorders resources."""
    if isinstance(declared, dict):
        return isinstance(actual, dict) and all(contains(actual.get(key), value) for key, value in declared.items())
    if isinstance(declared, list):
        rest = list(actual or ())
        for value in declared:
            match = next((one for one in rest if contains(one, value)), None)
            if match is None:
                return False
            rest.remove(match)
        return not rest
    # Ids are numbers in some files and strings in the API.
    return str(actual) == str(declared)


def _first_lost(understood: Any, declared: Any) -> Any:
    """The first entry of a list that was not understood, or the whole value."""
    if isinstance(declared, list):
        return next((one for one in declared if not any(contains(known, one) for known in understood or ())), declared)
    return declared
