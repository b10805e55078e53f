"""`app.yaml`: the command and the environment Databricks Apps starts the app with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph_agent.deploying.bundle import Bundle, read_yaml
from graph_agent.errors import BadBundle

FILE = "app.yaml"


@dataclass(frozen=True, slots=True)
class AppFile:
    """What app.yaml says. `environment` has the values the app will see; `hidden` names those known only there."""

    command: Sequence[str]
    environment: Mapping[str, str]
    hidden: Sequence[str]


def read_app_file(folder: Path, bundle: Bundle) -> AppFile:
    """Read it, with every `valueFrom` looked up among the bundle's resources.

    Raises:
        BadBundle: it is malformed, or refers to a resource the bundle does not have.
    """
    document = read_yaml(folder / FILE)
    command = document.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise BadBundle(f"{FILE}: command must be a list of texts; it is run without a shell", param="command")
    environment: dict[str, str] = {}
    hidden: list[str] = []
    entries = document.get("env") or []
    if not isinstance(entries, list):
        raise BadBundle(f"{FILE}: env must be a list of names with values", param="env")
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise BadBundle(f"{FILE}: every entry of env needs a name", param="env")
        if ("value" in entry) == ("valueFrom" in entry):
            raise BadBundle(f"{FILE}: {name} needs either value or valueFrom", param=name)
        if "value" in entry:
            environment[name] = str(entry["value"])
            continue
        resource = bundle.resources.get(str(entry["valueFrom"]))
        if resource is None:
            known = ", ".join(bundle.resources) or "none"
            raise BadBundle(
                f"{FILE}: {name} takes its value from {entry['valueFrom']!r}, which is no resource of the bundle's app;"
                f" it has {known}",
                param=name,
            )
        value = given_value(resource)
        if value is None:
            hidden.append(name)
        else:
            environment[name] = value
    return AppFile(tuple(command), environment, tuple(hidden))


def given_value(resource: Mapping[str, Any]) -> str | None:
    """What `valueFrom` yields for a resource; `None` where only the platform knows it, such as a secret."""
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
