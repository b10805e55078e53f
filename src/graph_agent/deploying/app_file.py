"""The command and the environment the app is started with: app.yaml, and `config` of the bundle's app before it.

Where both say something, `config` does: its command stands in place of app.yaml's, and each of its variables in place
of the one with the same name. Databricks says only that a deployment's variables override those of the file; so the
deployment is given all of them, those of the file included, and it makes no difference how.
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
"""As the Apps API names it: `name`, and `value` or `value_from`."""


@dataclass(frozen=True, slots=True)
class AppFile:
    """How the app is started. `environment` has the values the app will see; `hidden` names those known only there."""

    command: Sequence[str]
    environment: Mapping[str, str]
    hidden: Sequence[str]
    deployed: Mapping[str, Any] = field(default_factory=dict)
    """`command` and `env_vars` for the deployment to give, where the bundle has them; else the file alone does."""


def read_app_file(folder: Path, bundle: Bundle, *, note: Note = raise_problem) -> AppFile:
    """Read both, with every `valueFrom` looked up among the bundle's resources. `note` is given the problems of
    single variables.

    Raises:
        BadBundle: one is malformed, there is no command, or a variable refers to a resource the bundle does not have.
    """
    config = _checked(bundle.config)
    written = named_file(folder)
    # The bundle's may be all there is, as in the templates of Databricks.
    document = {} if written is None and "command" in config else read_yaml(folder / (written or FILE))
    command = config.get("command", document.get("command"))
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        place = IN_CONFIG if "command" in config else written
        raise BadBundle(f"{place}: command must be a list of texts; it is run without a shell", param="command")
    ours = variables(config.get("env"), place=IN_CONFIG, reference="value_from", note=note)
    theirs = variables(document.get("env"), place=written or FILE, reference="valueFrom", note=note)
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
    """The name of the app's file in its folder; `None` where there is none."""
    return next((name for name in NAMES if (folder / name).is_file()), None)


def variables(entries: Any, *, place: str, reference: str, note: Note) -> list[Variable]:
    """The entries of an `env` that are well-formed. `reference` is what a resource is named with there.

    Raises:
        BadBundle: it is no list.
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
            note(BadBundle(f"{place}: {name} needs either value or {reference}, and nothing else", param=name))
            continue
        key, value = ("value", _text(entry["value"])) if "value" in entry else ("value_from", str(entry[reference]))
        found.append({"name": name, key: value})
    return found


def _text(value: Any) -> str:
    """As YAML writes it: `true`, not Python's `True`."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


def _checked(config: Any) -> Mapping[str, Any]:
    if not isinstance(config, dict) or set(config) - {"command", "env"}:
        raise BadBundle(f"{IN_CONFIG}: the app's config has command and env only", param="config")
    return config


def _taken(one: Variable, bundle: Bundle, place: str, note: Note) -> str | None:
    resource = bundle.resources.get(one["value_from"])
    if resource is not None:
        return given_value(resource)
    known = ", ".join(bundle.resources) or "none"
    note(
        BadBundle(
            f"{place}: {one['name']} takes its value from {one['value_from']!r}, which is no resource of the bundle's"
            f" app; it has {known}",
            param=one["name"],
        )
    )
    return None


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
