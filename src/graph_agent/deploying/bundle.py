"""`databricks.yml`, read as `databricks bundle deploy` reads it: one app, its resources, and where its files go."""

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
DEFAULT_ROOT = "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one target of the bundle says about its app."""

    target: str
    app: str
    """The app's name in the workspace."""

    root: str
    """The workspace folder of this target; the sources go to `files` below it, as the Databricks CLI puts them."""

    source: str
    """The app's folder below the bundle's, `.` for the bundle's own."""

    declared: Mapping[str, Any]
    """The app's fields as the Apps API names them, such as `resources` and `user_api_scopes`."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """`command` and `env` of the app where the bundle gives them; they go before those of app.yaml."""

    permissions: Sequence[Mapping[str, str]] | None = None
    """`None` where the bundle says nothing of them; an empty one lets nobody in."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    """Patterns as in .gitignore."""

    host: str | None = None
    """The workspace the bundle is for, where it says so."""

    ignored: Sequence[str] = ()
    """Kinds of resources beside apps, which only the Databricks CLI deploys."""

    @property
    def files(self) -> str:
        """The workspace folder the sources are uploaded to."""
        return f"{self.root}/files"

    @property
    def source_path(self) -> str:
        """The folder the app is deployed from."""
        below = self.source.strip("./")
        return f"{self.files}/{below}" if below else self.files

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        """The app's resources by the name app.yaml uses."""
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
NOT_FOR_THE_API = ("name", "source_code_path", "permissions", "lifecycle", "config")


def read_bundle(
    path: Path,
    *,
    target: str | None,
    user: str | None,
    environ: Mapping[str, str],
    app: str | None = None,
    note: Note = raise_problem,
) -> Bundle:
    """The bundle of one target. `user` is who deploys, `app` another name for the app, with a folder of its own.

    `note` is given the problems with which reading can go on; a variable without a value then stands for itself.

    Raises:
        BadBundle: the file is no bundle with one app, or a reference has no value; the message names it.
    """
    try:
        return _bundle(read_yaml(path), target=target, user=user, environ=environ, app=app, note=note)
    except (AttributeError, TypeError, KeyError, ValueError):
        raise BadBundle(
            f"{path.name} does not have the shape of a bundle: a list or a text stands for a mapping"
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
        note(BadBundle(f"put everything into {FILE}: `include` is not read here", param="include"))
    look_up = _look_up(document, target=target, user=user, environ=environ, note=note)
    key, fields = _only_app(document)
    fields = resolved(fields, look_up)
    unknown = sorted(set(fields) - set(API_FIELDS) - set(NOT_FOR_THE_API))
    for one in unknown:
        note(BadBundle(f"the bundle's app {key!r} has a field this cannot deploy: {one}", param=one))
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
    """A YAML file that holds a mapping.

    Raises:
        BadBundle: it is missing or is something else.
    """
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise BadBundle(f"{path.name} cannot be read; run this in the folder that has it", param=path.name) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise BadBundle(f"{path.name} is not valid YAML" + (f", line {line + 1}" if line is not None else "")) from None
    if not isinstance(value, dict):
        raise BadBundle(f"{path.name} must hold a mapping", param=path.name)
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
        known["workspace.current_user.short_name"] = user.partition("@")[0].replace(".", "_")

    def look_up(reference: str) -> Any:
        if reference in known:
            return known[reference]
        kind, _, name = reference.partition(".")
        if kind != "var":
            note(BadBundle(f"{FILE} has a reference that is not known here: ${{{reference}}}", param=reference))
            return name
        if name not in variables:
            note(BadBundle(f"{FILE} has no variable {name!r}", param=reference))
            return name
        # An empty variable is an unset one: workflows pass on variables that nobody set.
        value = environ.get(f"BUNDLE_VAR_{name}") or (variables[name] or {}).get("default")
        if value is None:
            told = str((variables[name] or {}).get("description") or "").rstrip(".")
            # A description with a command in it says how to find a value.
            how = f": {told}" if "`" in told else ""
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
