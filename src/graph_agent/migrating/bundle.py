"""The bundle and the app's file of a template, in the form that the new project has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_agent.errors import ProjectNotRead
from graph_agent.migrating.environment import Variables, of_app
from graph_agent.migrating.findings import Finding

FILE = "databricks.yml"
APP_FILES = ("app.yaml", "app.yml")

HEAD = """\
# The app as a bundle: its name, the resources it may use, and its users. `graph-agent deploy` reads this file.
"""
APP_HEAD = """\
# How Databricks Apps starts the app, after it installed requirements.txt. No shell runs the command.
"""
MANIFEST_HEAD = """\
# What the workspace asks for when the app is installed from its page. The names are those of databricks.yml.
"""
KINDS = (
    "serving_endpoint", "experiment", "uc_securable", "sql_warehouse", "genie_space", "postgres", "database", "job",
    "secret",
)  # fmt: skip
"""Kinds of resources that a manifest knows. Source: manifests of databricks/app-templates, and the Apps API."""

KEPT_FIELDS = ("description", "compute_size", "user_api_scopes", "budget_policy_id", "permissions")
DEEPEST = 20
MOST_LEVELS = 64
"""Levels of a file."""

MOST_BITS = 64
"""Bits of a number. Python writes no number of some thousand digits."""


@dataclass(slots=True)
class Deployment:
    """The two files, and what else the project needs to know of them."""

    bundle: str
    app: str
    manifest: str = ""
    """What the workspace asks for when the app is installed from its page."""

    description: str = ""
    taken: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def take_bundle(
    configuration: Mapping[str, str], *, name: str, endpoint: str | None, variables: Variables
) -> Deployment:
    """Write databricks.yml and app.yaml from those of the template. `variables` gets the app's variables.

    Raises:
        ProjectNotRead: one of the files is not YAML with a mapping.
    """
    made = Deployment("", "")
    text = configuration.get(FILE, "")
    document, lines = _read(FILE, text)
    key, app = _only_app(document, lines, made)
    entries = _entries(configuration, app, lines)
    of_app(entries, variables)
    declared: dict[str, Any] = {}
    resources = [
        one for one in _list(app.get("resources")) if isinstance(one, dict) and isinstance(one.get("name"), str)
    ]
    declared_variables = dict(_mapping(document.get("variables")))
    resources = [_with_variables(one, one["name"], declared_variables) for one in resources]
    model = next((one["name"] for one in resources if _asks(one, endpoint)), None)
    if model is None:
        model = "model" if all(one["name"] != "model" for one in resources) else "agent-model"
        declared_variables["model_endpoint"] = {
            "description": "The serving endpoint of the model. `graph-agent doctor` lists those of the workspace.",
            **({"default": endpoint} if endpoint else {}),
        }
        place = {"name": "${var.model_endpoint}", "permission": "CAN_QUERY"}
        resources.insert(0, {"name": model, "serving_endpoint": place})
        what = f"the resource {model}: the template asked its endpoint without declaring it"
        made.taken.append(Finding(FILE, 0, what))
    for one in resources:
        if one["name"] != model:
            made.taken.append(Finding(FILE, _line(lines, one["name"]), f"the resource {one['name']}"))
    declared["name"] = app.get("name") if isinstance(app.get("name"), str) else f"{name}-${{bundle.target}}"
    declared |= {one: app[one] for one in KEPT_FIELDS if one in app}
    declared |= {"source_code_path": ".", "resources": resources}
    for unknown in sorted(set(app) - {*declared, "config", "name"}, key=str):
        made.left.append(Finding(FILE, _line(lines, str(unknown)), f"{unknown} of the app", "add it if you need it"))
    made.description = str(app.get("description") or "")
    bundle = _mapping(document.get("bundle")).get("name")
    whole: dict[str, Any] = {"bundle": {"name": bundle if isinstance(bundle, str) else name}}
    if declared_variables:
        whole["variables"] = declared_variables
    whole["resources"] = {"apps": {key: declared}}
    whole["sync"] = {
        "exclude": [
            *("/.claude/", "/.gitignore", "/.env*", "/evals/", "/scripts/", "/tests/", "/*.md"),
            *("/databricks.yml", "/manifest.yaml", "/pyproject.toml"),
        ]
    }
    whole["targets"] = dict(_targets(document, key))
    for other in sorted(set(document) - {"bundle", "variables", "resources", "targets", "sync"}, key=str):
        made.left.append(Finding(FILE, _line(lines, str(other)), f"{other} of the bundle", "add it if you need it"))
    for other in sorted(set(_mapping(document.get("resources"))) - {"apps"}, key=str):
        do = "keep it in a bundle of its own: graph-agent deploy deploys the app only"
        made.left.append(Finding(FILE, _line(lines, str(other)), f"{other} among the bundle's resources", do))
    made.bundle = HEAD + _dumped(whole)
    made.app = APP_HEAD + _dumped(
        {
            "command": ["python", "-m", "graph_agent", "serve"],
            "env": [{"name": "GRAPH_AGENT_MODEL", "valueFrom": model}, *variables.app],
        }
    )
    title = f"{name}" if not made.description else made.description
    specs = [spec for one in resources if (spec := _spec(one))]
    made.manifest = MANIFEST_HEAD + _dumped({"version": 1, "name": name, "description": title, "resource_specs": specs})
    if key:
        made.taken.append(Finding(FILE, _line(lines, key), f"the app {declared['name']}, with its targets"))
    return made


def _spec(resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the manifest says of a resource: its kind and its permission, and not which one it is."""
    for kind in KINDS:
        if isinstance(given := resource.get(kind), dict) and isinstance(given.get("permission"), str):
            spec = {one: given[one] for one in ("securable_type", "permission") if one in given}
            description = resource.get("description")
            told = description if isinstance(description, str) else f"The {resource['name']} of the app."
            return {"name": resource["name"], "description": told, f"{kind}_spec": spec}
    return None


def _read(path: str, text: str) -> tuple[Mapping[str, Any], list[str]]:
    # Late: only this command needs it, and `serve` shares the module of commands.
    import yaml

    try:
        aliases, depth = False, 0
        for event in yaml.parse(text):
            # An alias may repeat itself in a few lines more often than any memory holds.
            aliases = aliases or isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MOST_LEVELS:
                # Its scanner takes time quadratic in the levels.
                raise ValueError
        value = {} if aliases or not text else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f", line {line + 1}" if line is not None else ""
        raise ProjectNotRead(f"{path} is not valid YAML{where}; correct it", param=path) from None
    if aliases:
        raise ProjectNotRead(f"{path} has aliases (*name); write what they repeat in their place", param=path)
    if _has_huge_number(value):
        raise ProjectNotRead(f"{path} has a number of more than {MOST_BITS} bits; write it as a text", param=path)
    if not isinstance(value, dict):
        raise ProjectNotRead(f"{path} must contain a mapping; correct it", param=path)
    return value, text.split("\n")


def _has_huge_number(value: Any) -> bool:
    unread = [value]
    while unread:
        one = unread.pop()
        if isinstance(one, int) and one.bit_length() > MOST_BITS:
            return True
        # A set is a mapping without values in YAML, and its members are keys.
        unread += [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list | tuple | set) else ()
    return False


def _dumped(value: Any) -> str:
    import yaml

    class Plain(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types
        """Writes lists as people do."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            """Indent the entries of lists."""
            super().increase_indent(flow, False)

    text: str = yaml.dump(value, Dumper=Plain, sort_keys=False, allow_unicode=True, width=110)
    return text


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line(lines: list[str], word: str) -> int:
    """The first line that has a word. 0 if none has."""
    return next((number for number, line in enumerate(lines, start=1) if word and word in line), 0)


def _only_app(document: Mapping[str, Any], lines: list[str], made: Deployment) -> tuple[str, Mapping[str, Any]]:
    apps = _mapping(_mapping(document.get("resources")).get("apps"))
    for other in list(apps)[1:]:
        what = f"the app {other}: a bundle of graph-agent has one app"
        made.left.append(Finding(FILE, _line(lines, f"{other}:"), what, "make a project of its own for it"))
    for key, app in apps.items():
        return str(key), _mapping(app)
    return "agent", {}


def _entries(
    configuration: Mapping[str, str], app: Mapping[str, Any], lines: list[str]
) -> list[tuple[str, int, Mapping[str, str]]]:
    """The app's variables of both files. Those of the bundle win, as they do at a deployment."""
    found: dict[str, tuple[str, int, Mapping[str, str]]] = {}
    for path in APP_FILES:
        if path in configuration:
            document, there = _read(path, configuration[path])
            found |= {entry["name"]: (path, _line(there, entry["name"]), entry) for entry in _env(document)}
            break
    for entry in _env(_mapping(app.get("config"))):
        found[entry["name"]] = (FILE, _line(lines, entry["name"]), entry)
    return list(found.values())


def _env(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for one in _list(document.get("env")):
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            continue
        source = one.get("valueFrom", one.get("value_from"))
        if source is not None:
            yield {"name": one["name"], "valueFrom": str(source)}
        elif "value" in one:
            value = one["value"]
            text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
            yield {"name": one["name"], "value": text}


def _asks(resource: Mapping[str, Any], endpoint: str | None) -> bool:
    return endpoint is not None and _mapping(resource.get("serving_endpoint")).get("name") == endpoint


def _with_variables(value: Any, path: str, variables: dict[str, Any], depth: int = 0) -> Any:
    """The resource with a variable in place of every text that is empty or says `<your-…>`."""
    if depth > DEEPEST:
        return value
    if isinstance(value, dict):
        return {
            key: one
            if key in ("name", "permission", "description") and depth == 0
            else _with_variables(one, key, variables, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_with_variables(one, path, variables, depth + 1) for one in value]
    if value is None or (isinstance(value, str) and (not value.strip() or value.strip().startswith("<"))):
        name = path if path.endswith("_id") else f"lakebase_{path}" if path in ("branch", "database") else path
        variables.setdefault(
            name, {"description": f"The template left {path} open: set it here, or BUNDLE_VAR_{name}."}
        )
        return f"${{var.{name}}}"
    return value


def _targets(document: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    given = _mapping(document.get("targets")) or {"dev": {"mode": "development", "default": True}}
    for name, target in given.items():
        one = {field: value for field, value in _mapping(target).items() if field != "resources"}
        app = _mapping(_mapping(_mapping(_mapping(target).get("resources")).get("apps")).get(key))
        # Variables and the command of a target would replace the new ones.
        if kept := {field: value for field, value in app.items() if field != "config"}:
            one["resources"] = {"apps": {key: kept}}
        if one.get("mode") == "production" and not _mapping(one.get("workspace")).get("root_path"):
            root = "/Workspace/Users/${workspace.current_user.userName}/.bundle/${bundle.name}/${bundle.target}"
            one["workspace"] = {**_mapping(one.get("workspace")), "root_path": root}
        yield str(name), one
