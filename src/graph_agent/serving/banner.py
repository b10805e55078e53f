"""What the log says when the service is ready: what is served where, stored, traced and to whom. No value is secret."""

from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlsplit

from graph_agent.app_context import AppContext
from graph_agent.databricks.default_model import LOCAL_MODEL, is_local
from graph_agent.errors import BadSetting
from graph_agent.serving.identity import on_apps
from graph_agent.settings import Limits, Settings
from graph_agent.stores.opening import default_file
from graph_agent.trusted_hosts import is_loopback

NOT_BUILT = {
    "page": "the page is not built here",
    "docs": "the documentation is not built here",
}
"""What is said instead of an address that would answer 503."""


def banner_of(
    app: AppContext, *, metrics: bool, schedules: int, webhooks: int, unbuilt: Collection[str] = ()
) -> Mapping[str, str]:
    """What there is to say, by subject, in at most seven lines. `metrics` says whether there are any.

    `unbuilt` names what of `page` and `docs` is switched on and has no files here.
    """
    settings, environ = app.settings, app.environ
    said = {
        "address": _address(settings, metrics=metrics, unbuilt=unbuilt),
        "model": _model(app),
        "callers": _callers(settings, environ),
        "store": _store(settings),
        "traces": _traces(settings, environ),
        "limits": _limits(settings),
    }
    if schedules or webhooks:
        said["background"] = f"{schedules} schedules and {webhooks} targets of webhooks"
    return said


def _limits(settings: Settings) -> str:
    each = f"{settings.max_seconds:g} s and {settings.max_output_tokens} tokens of output"
    of_runs = f"{settings.max_runs} runs at once, each {each}; {settings.max_background_runs} in the background"
    return "; ".join([of_runs, *_of_people(settings.limits)])


def _of_people(limits: Limits) -> Iterator[str]:
    for whose, prefix in (("a user", "user_"), ("all users", "")):
        set_ = [
            f"{limit} {name.replace('_', ' ')}"
            for name in ("requests_per_minute", "requests_per_day", "tokens_per_day")
            if (limit := getattr(limits, f"{prefix}{name}")) is not None
        ]
        if set_:
            yield f"{whose}: {', '.join(set_)}"


def _address(settings: Settings, *, metrics: bool, unbuilt: Collection[str]) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    # Port 0 is chosen by the system, and uvicorn logs it.
    port = f":{settings.port}" if settings.port else ""
    pages = {
        "/ (page)": settings.page == "on" and "page" not in unbuilt,
        "/docs/": settings.docs == "on" and "docs" not in unbuilt,
        "/metrics": metrics,
    }
    there = ", ".join(["the API", *(one for one, on in pages.items() if on)])
    absent = "".join(f"; {NOT_BUILT[one]}" for one in unbuilt)
    return f"http://{host}{port} with {there}{absent}"


def _model(app: AppContext) -> str:
    name = app.settings.model or (LOCAL_MODEL if is_local(app) else None)
    if name is None:
        return "none in the settings; graphs name theirs"
    host = app.environ.get("DATABRICKS_HOST")
    return f"{name} of {place_of(host)}" if host and name.startswith("databricks:") else name


def _callers(settings: Settings, environ: Mapping[str, str]) -> str:
    if on_apps(environ):
        who = "users of the Databricks app"
    elif settings.bearer_token is not None:
        named = settings.user_header
        who = "whoever has the bearer token"
        who += f", for the user in {named}" if named else f", as the user {settings.local_user}"
    else:
        reach = "on this machine" if is_loopback(settings.host) else f"who can reach {settings.host}"
        who = f"everybody {reach}, as the user {settings.local_user}"
    return f"{who}; with the permissions of the {'app' if settings.authorization == 'app' else 'calling user'}"


def _store(settings: Settings) -> str:
    named = settings.store
    if named == "memory":
        where = "memory, which is lost at the end"
    elif named is None:
        where = f"the SQLite file {default_file(settings)}"
    elif named.startswith("sqlite:"):
        where = f"the SQLite file {named.removeprefix('sqlite:')}"
    else:
        where = f"{place_of(named)}, in the schema {settings.store_schema}"
    kept = f"{settings.retention_days:g} days" if settings.retention_days else "until they are deleted"
    return f"{where}; conversations are kept {kept}"


def _traces(settings: Settings, environ: Mapping[str, str]) -> str:
    if settings.tracing == "off":
        return "off"
    uri = settings.tracking_uri or environ.get("MLFLOW_TRACKING_URI")
    experiment = environ.get("MLFLOW_EXPERIMENT_ID") or settings.experiment
    where = place_of(uri) if uri else f"a SQLite file in {settings.cache_dir}"
    return f"to {where}, experiment {experiment}{_collector(environ)}"


def _collector(environ: Mapping[str, str]) -> str:
    if not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in environ):
        return ""
    # Late: the package imports LangChain, which takes seconds. With tracing it is there already.
    from graph_agent.tracing.collector import collector_of

    try:
        found = collector_of(environ)
    except BadSetting:
        # The tracer has warned.
        return ""
    return f", and to the OpenTelemetry collector {place_of(found.url)}" if found else ""


def place_of(address: str) -> str:
    """An address without its user, password and options."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that cannot be read"
    if not parts.netloc:
        return address.partition("?")[0]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
