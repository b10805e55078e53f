"""`databricks.yml`, read as `databricks bundle deploy` reads it: one app, its resources, and its target folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graph_agent.deploying.declared_checks import check_declared
from graph_agent.deploying.problems import Note, raise_problem
from graph_agent.deploying.references import resolved
from graph_agent.deploying.targets import choose_target, merge
from graph_agent.errors import BadBundle, UnsetVariable

FILE = "databricks.yml"
# The default of the Databricks CLI, so that both tools use the same folder.
DEFAULT_ROOT = "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The app as one target of the bundle describes it."""

    target: str
    app: str
    """The app's name in the workspace."""

    root: str
    """The workspace folder of this target. The sources go to `files` in it, where the Databricks CLI puts them too."""

    source: str
    """The app's folder relative to the bundle's folder; `.` if they are the same."""

    declared: Mapping[str, Any]
    """The app's fields as the Apps API names them, such as `resources` and `user_api_scopes`."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """`command` and `env` of the app, if the bundle has them. They override those of app.yaml."""

    permissions: Sequence[Mapping[str, str]] | None = None
    """`None` if the bundle does not mention permissions. An empty list gives nobody access."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    """Patterns with the syntax of .gitignore."""

    host: str | None = None
    """The workspace that the bundle names, if it names one."""

    ignored: Sequence[str] = ()
    """Other kinds of resources, which only the Databricks CLI deploys."""

    @property
    def files(self) -> str:
        """The workspace folder that the sources are uploaded to."""
        return f"{self.root}/files"

    @property
    def source_path(self) -> str:
        """The workspace folder that the app is deployed from."""
        below = self.source.strip("./")
        return f"{self.files}/{below}" if below else self.files

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        """The app's resources, by the name that app.yaml refers to."""
        named = [one for one in self.declared.get("resources") or () if isinstance(one, dict) and "name" in one]
        return {str(one["name"]): one for one in named}


API_FIELDS = (
    "description",
    "compute_size",
    "resources",
    "user_api_scopes",
    "budget_policy_id",
    "usage_policy_id",
    "telemetry_export_destinations",
    "forward_user_access_token",
    "compute_min_instances",
    "compute_max_instances",
)
"""The app's fields that are sent to the Apps API."""

NOT_FOR_THE_API = ("name", "source_code_path", "permissions", "lifecycle", "config")
"""Valid fields of a bundle's app that the Apps API does not have. Each is handled elsewhere, or has no effect here."""


def read_bundle(
    path: Path,
    *,
    target: str | None,
    user: str | None,
    environ: Mapping[str, str],
    app: str | None = None,
    note: Note = raise_problem,
) -> Bundle:
    """Read the bundle for one target. `user` is the deployer. `app` is another name for the app, which then gets
    another folder.

    `note` gets the problems that do not prevent reading the rest. A reference without a value is replaced by a
    placeholder then.

    Raises:
        BadBundle: the file is not a bundle with one app, or a reference has no value. The message names it.
    """
    try:
        return _bundle(read_yaml(path), target=target, user=user, environ=environ, app=app, note=note)
    except (AttributeError, TypeError, KeyError, ValueError):
        # Not every level is checked for its type while it is read. Any wrong type ends up here.
        raise BadBundle(
            f"{path.name} is not a valid bundle: it has a list or a string where a mapping is needed"
        ) from None


def _bundle(
    document: dict[str, Any],
    *,
    target: str | None,
    user: str | None,
    environ: Mapping[str, str],
    app: str | None,
    note: Note,
) -> Bundle:
    target = choose_target(document, target)
    document = merge(document, document.get("targets", {}).get(target) or {})
    if document.get("include"):
        note(BadBundle(f"`include` is not supported by this command; put everything into {FILE}", param="include"))
    look_up = _look_up(document, target=target, user=user, environ=environ, note=note)
    key, fields = _only_app(document)
    fields = resolved(fields, look_up)
    # A field that is silently skipped would leave the app different from what the bundle says.
    unknown = sorted(set(fields) - set(API_FIELDS) - set(NOT_FOR_THE_API))
    for one in unknown:
        note(BadBundle(f"the bundle's app {key!r} has a field that cannot be deployed: {one}; remove it", param=one))
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise BadBundle(f"the bundle's app {key!r} needs a name", param="name")
    declared = {one: fields[one] for one in API_FIELDS if one in fields}
    for problem in check_declared(app or name, declared, fields.get("permissions") or ()):
        note(problem)
    workspace = resolved(document.get("workspace") or {}, look_up)
    root = workspace.get("root_path") or resolved(DEFAULT_ROOT, look_up)
    sync = document.get("sync") or {}
    return Bundle(
        target=target,
        app=app or name,
        # Another app gets another folder, so that it does not overwrite the files of the first one.
        root=root if app in (None, name) else f"{root}-{app}",
        source=fields.get("source_code_path", "."),
        declared=declared,
        config=fields.get("config") or {},
        permissions=(fields["permissions"] or ()) if "permissions" in fields else None,
        include=sync.get("include") or (),
        exclude=sync.get("exclude") or (),
        host=workspace.get("host"),
        ignored=[kind for kind in document["resources"] if kind != "apps"],
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping.

    Raises:
        BadBundle: the file is missing, is not valid YAML, or contains something else.
    """
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise BadBundle(
            f"{path.name} cannot be read; run this command in the folder that has it", param=path.name
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise BadBundle(f"{path.name} is not valid YAML" + (f", line {line + 1}" if line is not None else "")) from None
    if not isinstance(value, dict):
        raise BadBundle(f"{path.name} must contain a mapping", param=path.name)
    return value


def _only_app(document: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    apps = (document.get("resources") or {}).get("apps") or {}
    if len(apps) != 1:
        raise BadBundle(f"{FILE} must have one app under resources.apps; it has {len(apps)}", param="resources.apps")
    return next(iter(apps.items()))


def _look_up(
    document: Mapping[str, Any], *, target: str, user: str | None, environ: Mapping[str, str], note: Note
) -> Callable[[str], Any]:
    variables = document.get("variables") or {}
    known = {"bundle.target": target, "bundle.environment": target, "bundle.name": _name(document)}
    if user is not None:
        known["workspace.current_user.userName"] = user
        # The Databricks CLI derives the short name in the same way.
        known["workspace.current_user.short_name"] = user.partition("@")[0].replace(".", "_")

    def look_up(reference: str) -> Any:
        if reference in known:
            return known[reference]
        kind, _, name = reference.partition(".")
        if kind != "var":
            note(BadBundle(f"{FILE} has an unsupported reference: ${{{reference}}}", param=reference))
            return name
        if name not in variables:
            note(BadBundle(f"{FILE} has no variable {name!r}", param=reference))
            return name
        # An empty variable counts as unset: CI workflows pass on variables that nobody has set as empty strings.
        value = environ.get(f"BUNDLE_VAR_{name}") or (variables[name] or {}).get("default")
        if value is None:
            description = str((variables[name] or {}).get("description") or "").rstrip(".")
            # Only a description with a command in backquotes explains how to get a value.
            how = f": {description}" if "`" in description else ""
            what = f"variable {name!r} of {FILE} has no value; set BUNDLE_VAR_{name}{how}"
            note(UnsetVariable(what, param=reference))
            value = "unset"
        return value if isinstance(value, dict | list) else str(value)

    return look_up


def _name(document: Mapping[str, Any]) -> str:
    name = (document.get("bundle") or {}).get("name")
    if not isinstance(name, str) or not name:
        raise BadBundle(f"{FILE} needs bundle.name", param="bundle.name")
    return name
