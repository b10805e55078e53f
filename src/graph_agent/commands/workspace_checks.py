"""The checks of `graph-agent doctor` in a Databricks workspace: sign-in, endpoints, index, experiment, user scopes."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.app_context import AppContext
from graph_agent.commands.check import Check
from graph_agent.databricks.clients import workspace_client
from graph_agent.databricks.default_model import default_model
from graph_agent.databricks.text_embedder import endpoint_of
from graph_agent.databricks.user_scopes import SCOPES, declared_scopes, lacking_scopes
from graph_agent.errors import AgentError
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

BUNDLE = Path("databricks.yml")

CHAT_TASKS = ("llm/v1/chat", "agent/v1/chat", "agent/v2/chat")
"""Tasks of the serving endpoints that answer chat completions."""

MOST_NAMED = 50
"""Endpoints that are named. Databricks itself provides about thirty in every workspace."""


def databricks(settings: Settings) -> Iterator[Check]:
    """Check the workspace of the environment. Without `DATABRICKS_HOST` there are no checks."""
    host = os.environ.get("DATABRICKS_HOST")
    if host:
        signed_in = yield from _signed_in(host)
        if signed_in is not None:
            yield from _model(signed_in, settings)
            yield _chat_endpoints(signed_in)
            yield from _embeddings(signed_in, settings)
            yield from _index(signed_in, settings)
            yield from _experiment(signed_in, settings)
        if settings.authorization != "app":
            yield from _scopes(signed_in)


def _signed_in(host: str) -> Generator[Check, None, "WorkspaceClient | None"]:
    try:
        client = workspace_client()
        name = client.current_user.me().user_name
    except AgentError as error:
        yield Check(False, f"sign-in to {host}", error.message)
    except Exception as error:  # noqa: BLE001 - the SDK signs in many ways, each with its own errors; each is a check
        yield Check(
            False,
            f"sign-in to {host} ({type(error).__name__})",
            "check DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or DATABRICKS_TOKEN",
        )
    else:
        yield Check(True, f"signed in to {host} as {name}")
        return client
    return None


def _model(client: "WorkspaceClient", settings: Settings) -> Iterator[Check]:
    # Late: imports LangChain, which takes a second.
    from graph_agent.models.providers import ModelName

    try:
        model = ModelName.parse(default_model(AppContext(settings)))
    except AgentError as error:
        yield Check(False, "GRAPH_AGENT_MODEL", error.message)
        return
    if not model.on_databricks or model.on_gateway:
        # Models behind the AI gateway are not serving endpoints, so there is nothing to look up.
        return
    yield from _endpoint(client, "model", model.name, setting="GRAPH_AGENT_MODEL")


def _embeddings(client: "WorkspaceClient", settings: Settings) -> Iterator[Check]:
    if settings.embeddings is None:
        return
    try:
        name = endpoint_of(settings.embeddings)
    except AgentError as error:
        yield Check(False, "GRAPH_AGENT_EMBEDDINGS", error.message)
        return
    yield from _endpoint(client, "embedding", name, setting="GRAPH_AGENT_EMBEDDINGS")


def _endpoint(client: "WorkspaceClient", kind: str, name: str, *, setting: str) -> Iterator[Check]:
    what = f"{kind} endpoint {name}"
    fix = f"create the serving endpoint {name}, or set {setting} to another"
    grant = f"grant the app's service principal CAN_QUERY on the serving endpoint {name}"
    found = yield from _looked_up(what, lambda: client.serving_endpoints.get(name), missing=fix, denied=grant)
    if found is not None:
        ready = _is_ready(found)
        yield Check(ready, f"{what} {'is' if ready else 'is not'} ready", "see its state in the workspace")


def _chat_endpoints(client: "WorkspaceClient") -> Check:
    """The chat endpoints of the workspace. The check never fails: an app may not have the right to list them."""
    try:
        listed = [one for one in client.serving_endpoints.list() if one.task in CHAT_TASKS and one.name]
    except Exception as error:  # noqa: BLE001 - an answer of an unexpected shape fails one check, not all of them
        return Check(True, f"chat endpoints of the workspace cannot be listed from here ({type(error).__name__})")
    names = sorted(str(one.name) + ("" if _is_ready(one) else " (not ready)") for one in listed)
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return Check(True, f"chat endpoints of the workspace: {', '.join(names[:MOST_NAMED]) or 'none'}{more}")


def _is_ready(endpoint: Any) -> bool:
    state = endpoint.state
    return state is not None and state.ready is not None and state.ready.value == "READY"


def _index(client: "WorkspaceClient", settings: Settings) -> Iterator[Check]:
    what = f"index {settings.index}"
    fix = "create the Vector Search index, or set GRAPH_AGENT_INDEX to another"
    grant = f"grant the app's service principal SELECT on {settings.index}, USE CATALOG and USE SCHEMA"
    look = client.vector_search_indexes.get_index
    found = yield from _looked_up(what, lambda: look(settings.index), missing=fix, denied=grant)
    if found is not None:
        ready = found.status is not None and bool(found.status.ready)
        yield Check(ready, f"{what} {'is' if ready else 'is not'} ready", "wait for its first sync, or start a sync")


def _experiment(client: "WorkspaceClient", settings: Settings) -> Iterator[Check]:
    number = os.environ.get("MLFLOW_EXPERIMENT_ID")
    tracking = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
    if settings.tracing == "off" or not tracking.startswith("databricks"):
        return
    what = f"MLflow experiment {number or settings.experiment}"
    fix = "create the experiment, and set MLFLOW_EXPERIMENT_ID to its id"
    grant = f"grant the app's service principal CAN_EDIT on the {what}"

    def look() -> Any:
        if number:
            return client.experiments.get_experiment(number)
        return client.experiments.get_by_name(settings.experiment)

    found = yield from _looked_up(what, look, missing=fix, denied=grant)
    if found is not None:
        yield Check(True, what)


def _looked_up(what: str, look: Callable[[], Any], *, missing: str, denied: str) -> Generator[Check, None, Any | None]:
    from databricks.sdk import errors

    try:
        return look()
    except errors.NotFound:
        yield Check(False, f"{what} does not exist", missing)
    except errors.PermissionDenied:
        yield Check(False, f"no permission to see {what}", denied)
    except Exception as error:  # noqa: BLE001 - an answer of an unexpected shape fails one check, not all of them
        yield Check(False, f"{what} could not be looked up ({type(error).__name__})", "try again")
    return None


def _scopes(client: "WorkspaceClient | None") -> Iterator[Check]:
    app = os.environ.get("DATABRICKS_APP_NAME")
    if BUNDLE.is_file():
        yield from _enough(f"user scopes in {BUNDLE}", _of_bundle(), f"add it to the app's user_api_scopes in {BUNDLE}")
    elif not app:
        yield Check(False, f"user scopes: there is no {BUNDLE} here", "run doctor in the folder that has it")
    if app and client is not None:
        try:
            granted = client.apps.get(app).effective_user_api_scopes or ()
        except Exception as error:  # noqa: BLE001 - an answer of an unexpected shape fails one check, not all of them
            # The app's service principal may not have the right to see the app itself.
            yield Check(True, f"user scopes of the app {app} cannot be seen from here ({type(error).__name__})")
        else:
            yield from _enough(f"user scopes of the app {app}", granted, "add it to the app, and deploy again")


def _of_bundle() -> frozenset[str]:
    # Late: only this check needs it.
    import yaml

    try:
        return declared_scopes(yaml.safe_load(BUNDLE.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
        return frozenset()


def _enough(what: str, scopes: Iterable[str], fix: str) -> Iterator[Check]:
    lacking = lacking_scopes(scopes)
    for scope in lacking:
        yield Check(False, f"{what}: {scope} is missing", fix)
    if not lacking:
        yield Check(True, f"{what}: {', '.join(SCOPES)}")
