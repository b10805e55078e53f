"""The variables of a template's app and of its .env, under the names that the service has for them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graph_agent.migrating.findings import NOTHING, Finding
from graph_agent.redaction import redact
from graph_agent.redaction.names import is_sensitive

KEPT = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID")

WITH_VALUES = (*KEPT, "DATABRICKS_HOST", "DATABRICKS_CONFIG_PROFILE")
"""Variables of .env whose values are copied. All others may be secrets."""

NOT_NEEDED = {
    "MLFLOW_REGISTRY_URI": "the service registers no model",
    "API_PROXY": "the chat page is part of the service",
    "CHAT_APP_PORT": "the chat page is part of the service",
    "CHAT_PROXY_TIMEOUT_SECONDS": "the chat page is part of the service",
    "LOG_LEVEL": "the service's log has one level; GRAPH_AGENT_LOG_FORMAT chooses its form",
    "POLL_INTERVAL_SECONDS": "streams that are joined again are told of news, and do not poll",
}
RENAMED = {
    "TASK_TIMEOUT_SECONDS": "GRAPH_AGENT_BACKGROUND_SECONDS",
    "CHAT_GREETING": "GRAPH_AGENT_PAGE_GREETING",
    "LAKEBASE_AUTOSCALING_ENDPOINT": "GRAPH_AGENT_STORE",
    "DATABRICKS_EMBEDDING_ENDPOINT": "GRAPH_AGENT_EMBEDDINGS",
}
ADVICE = {
    "LAKEBASE_AGENT_MEMORY_SCHEMA": (
        "the service makes its own schema and tables, and does not read those of the template",
        "nothing; old conversations and memories stay where they are. GRAPH_AGENT_STORE_SCHEMA names the new schema",
    ),
    "LAKEBASE_INSTANCE_NAME": (
        "a provisioned Lakebase instance",
        "set GRAPH_AGENT_STORE to the path of an endpoint (projects/…/endpoints/…), or to a postgresql:// URL",
    ),
    "LAKEBASE_AUTOSCALING_PROJECT": (
        "the Lakebase project",
        "set GRAPH_AGENT_STORE to projects/PROJECT/branches/BRANCH/endpoints/ENDPOINT",
    ),
    "LAKEBASE_AUTOSCALING_BRANCH": (
        "the Lakebase branch",
        "set GRAPH_AGENT_STORE to projects/PROJECT/branches/BRANCH/endpoints/ENDPOINT",
    ),
}

_LINE = re.compile(r"(#?) ?(?:export )?([A-Z][A-Z0-9_]{0,100})=(.*)")


@dataclass(slots=True)
class Variables:
    """Variables in their new form."""

    app: list[dict[str, str]] = field(default_factory=list)
    """Entries of `env` in app.yaml."""

    local: dict[str, str] = field(default_factory=dict)
    """Lines of `.env.example`. A value that is not known or not shown is empty."""

    taken: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


def of_app(entries: Sequence[tuple[str, int, Mapping[str, str]]], into: Variables) -> None:
    """Translate entries of an app's `env`. Each has its file, its line, and `name` with `value` or `valueFrom`."""
    for path, line, entry in entries:
        name = entry["name"]
        value = entry.get("value")
        if name in NOT_NEEDED:
            into.left.append(Finding(path, line, f"{name}: {NOT_NEEDED[name]}", NOTHING))
        elif name in ADVICE:
            what, do = ADVICE[name]
            into.left.append(Finding(path, line, f"{name}: {what}", do))
        elif value is not None and _is_secret(name, value):
            do = f"renew it, store it in a secret scope, and take {name} from a secret resource of the app"
            into.left.append(Finding(path, line, f"{name} has a secret value, which is not copied", do))
        else:
            new = RENAMED.get(name, name)
            if name == "DATABRICKS_EMBEDDING_ENDPOINT" and value is not None:
                value = f"databricks:{value}"
            into.app.append({"name": new, **({"valueFrom": entry["valueFrom"]} if value is None else {"value": value})})
            into.taken.append(Finding(path, line, f"{name}{'' if new == name else f', as {new}'}, now in app.yaml"))


def of_env_file(path: str, text: str, into: Variables) -> None:
    """Take the names of a .env file, and the values of those that are never secret."""
    for number, line in enumerate(text.split("\n"), start=1):
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        commented, name, value = bool(match[1]), match[2], match[3].strip().strip("\"'")
        if name in NOT_NEEDED or name in ADVICE:
            if not commented and not path.endswith(".example"):
                what = NOT_NEEDED.get(name) or ADVICE[name][0]
                into.left.append(Finding(path, number, f"{name}: {what}", ADVICE.get(name, ("", NOTHING))[1]))
            continue
        new = RENAMED.get(name, name)
        shown = value if name in WITH_VALUES and not commented and not _is_secret(name, value) else ""
        if new not in into.local:
            into.taken.append(
                Finding(path, number, f"{name}{'' if new == name else f', as {new}'}, now in .env.example")
            )
        into.local[new] = into.local.get(new) or shown


def _is_secret(name: str, value: str) -> bool:
    return is_sensitive(name) or name.endswith(("_KEY", "_PAT", "TOKEN")) or redact(value) != value
