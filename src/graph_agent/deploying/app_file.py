"""The app's command and environment, from app.yaml and from `config` of the bundle's app.

`config` wins: its command replaces the command of app.yaml, and each of its variables replaces the variable with the
same name. Databricks documents only that a deployment's variables override those of the file. To not depend on how
they are merged, the deployment gets all of them, including those of the file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graph_agent.deploying.bundle import FILE as BUNDLE
from graph_agent.deploying.bundle import Bundle, read_yaml
from graph_agent.deploying.problems import Note, raise_problem
from graph_agent.errors import BadBundle

FILE = "app.yaml"
NAMES = (FILE, "app.yml")
IN_CONFIG = f"{BUNDLE}, config"

Variable = Mapping[str, str]
"""A variable in the Apps API's form: `name`, and `value` or `value_from`."""


@dataclass(frozen=True, slots=True)
class AppFile:
    """How the app is started. `environment` has the values that the app will see. `hidden` has the names of the
    variables with values that only the platform knows."""

    command: Sequence[str]
    environment: Mapping[str, str]
    hidden: Sequence[str]
    deployed: Mapping[str, Any] = field(default_factory=dict)
    """`command` and `env_vars` of the deployment, if the bundle has them. Otherwise app.yaml alone decides."""


def read_app_file(folder: Path, bundle: Bundle, *, note: Note = raise_problem) -> AppFile:
    """Read both, and look up every `valueFrom` among the bundle's resources. `note` gets the problems of single
    variables.

    Raises:
        BadBundle: one is malformed, there is no command, or a variable refers to a resource the bundle does not have.
    """
    config = _checked(bundle.config)
    written = named_file(folder)
    # app.yaml may be missing if the bundle has the command, as in Databricks' own bundle templates.
    document = {} if written is None and "command" in config else read_yaml(folder / (written or FILE))
    command = config.get("command", document.get("command"))
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        place = IN_CONFIG if "command" in config else written
        raise BadBundle(f"{place}: command must be a list of strings, because it runs without a shell", param="command")
    ours = variables(config.get("env"), place=IN_CONFIG, reference="value_from", note=note)
    theirs = variables(document.get("env"), place=written or FILE, reference="valueFrom", note=note)
    # The last entry with a name wins, so those of `config` come last.
    together = list({one["name"]: one for one in [*theirs, *ours]}.values())
    environment: dict[str, str] = {}
    hidden: list[str] = []
    for one in together:
        place = IN_CONFIG if one in ours else written or FILE
        value = one["value"] if "value" in one else _taken(one, bundle, place, note)
        if value is None:
            hidden.append(one["name"])
        else:
            environment[one["name"]] = value
    deployed = {"command": command} if "command" in config else {}
    return AppFile(tuple(command), environment, tuple(hidden), deployed | ({"env_vars": together} if ours else {}))


def named_file(folder: Path) -> str | None:
    """The name of the app's file in its folder, or `None` if there is none."""
    return next((name for name in NAMES if (folder / name).is_file()), None)


def variables(entries: Any, *, place: str, reference: str, note: Note) -> list[Variable]:
    """The well-formed entries of an `env`. `reference` is the key that refers to a resource there.

    Raises:
        BadBundle: `env` is not a list.
    """
    if not isinstance(entries or [], list):
        raise BadBundle(f"{place}: env must be a list of names with values", param="env")
    found: list[Variable] = []
    for entry in entries or []:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            note(BadBundle(f"{place}: every entry of env needs a name", param="env"))
            continue
        if ("value" in entry) == (reference in entry) or set(entry) - {"name", "value", reference}:
            note(BadBundle(f"{place}: {name} needs either value or {reference}, and no other field", param=name))
            continue
        key, value = ("value", _text(entry["value"])) if "value" in entry else ("value_from", str(entry[reference]))
        found.append({"name": name, key: value})
    return found


def _text(value: Any) -> str:
    """The value as YAML writes it: `true`, not Python's `True`."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _checked(config: Any) -> Mapping[str, Any]:
    if not isinstance(config, dict) or set(config) - {"command", "env"}:
        raise BadBundle(f"{IN_CONFIG}: the app's config may have only command and env", param="config")
    return config


def _taken(one: Variable, bundle: Bundle, place: str, note: Note) -> str | None:
    resource = bundle.resources.get(one["value_from"])
    if resource is not None:
        return given_value(resource)
    known = ", ".join(bundle.resources) or "none"
    note(
        BadBundle(
            f"{place}: {one['name']} takes its value from {one['value_from']!r}, which is not a resource of the"
            f" bundle's app; the resources are: {known}",
            param=one["name"],
        )
    )
    return None


def given_value(resource: Mapping[str, Any]) -> str | None:
    """The value that `valueFrom` yields for a resource. `None` if only the platform knows it, as for a secret."""
    match resource:
        case {"serving_endpoint": {"name": str(name)}}:
            return name
        case {"uc_securable": {"securable_full_name": str(name)}}:
            return name
        case {"experiment": {"experiment_id": experiment}}:
            return str(experiment)
        case {"genie_space": {"space_id": str(space)}}:
            return space
        case {"sql_warehouse": {"id": str(warehouse)}}:
            return warehouse
    return None
