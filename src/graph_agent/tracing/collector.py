"""Sends traces to a collector of OpenTelemetry, beside MLflow, where its standard variables name one.

Sources: OpenTelemetry Protocol Exporter (the variables), OTLP specification, section OTLP/HTTP. `genai_spans` has the
form of the spans.
"""

import gzip
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import httpx

from graph_agent.errors import BadSetting
from graph_agent.tracing.ratings import Rating
from graph_agent.tracing.records import RunRecord
from graph_agent.tracing.trace_store import MAY_PASS, Missing, RecordRefused, StoreUnavailable

logger = logging.getLogger(__name__)

SECONDS = 10.0
"""The longest time without data from a collector before a call fails."""

ANY, TRACES = "OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"
CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""OpenTelemetry's own switch for prompts, answers, arguments and documents in spans. They are off by default there."""

WITH_CONTENT = frozenset({"true", "1", "span_only", "span_and_event"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A collector as the environment describes it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    compressed: bool = False
    certificate: str | None = None
    """A file with the certificates that the collector's is checked against."""

    client: tuple[str, str] | None = None
    """Files with the certificate and the key by which this service proves who it is."""

    resource: Mapping[str, str] = field(default_factory=dict)
    """What every span says about this service."""

    content: bool = False
    """Whether spans hold what people, models and tools said."""


def collector_of(environ: Mapping[str, str]) -> Collector | None:
    """The collector that the variables `OTEL_EXPORTER_OTLP_…` name, or `None`.

    Raises:
        BadSetting: a variable cannot be used. The message has its name, and not its value.
    """
    if _value(environ, "OTEL_SDK_DISABLED").lower() == "true":
        return None
    if _value(environ, "MLFLOW_ENABLE_OTLP_EXPORTER").lower() in ("false", "0"):
        return None
    if _value(environ, "OTEL_TRACES_EXPORTER") not in ("", "otlp"):
        return None
    url = _url(environ)
    if url is None:
        return None
    protocol = _of_traces(environ, "PROTOCOL")
    if protocol not in ("", "http/protobuf"):
        raise BadSetting(
            f"{ANY}PROTOCOL is not http/protobuf, the only form that graph-agent sends; set {TRACES}PROTOCOL to it and "
            f"{TRACES}ENDPOINT to the collector's address for HTTP, usually on port 4318",
            param=f"{ANY}PROTOCOL",
        )
    certificate, key = _of_traces(environ, "CLIENT_CERTIFICATE"), _of_traces(environ, "CLIENT_KEY")
    if bool(certificate) != bool(key):
        raise BadSetting(
            f"set both {ANY}CLIENT_CERTIFICATE and {ANY}CLIENT_KEY, or none", param=f"{ANY}CLIENT_CERTIFICATE"
        )
    resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES")
    name = _value(environ, "OTEL_SERVICE_NAME") or resource.get("service.name") or "graph-agent"
    return Collector(
        url=url,
        headers=_pairs(environ, f"{TRACES}HEADERS") or _pairs(environ, f"{ANY}HEADERS"),
        compressed=_of_traces(environ, "COMPRESSION") == "gzip",
        certificate=_of_traces(environ, "CERTIFICATE") or None,
        client=(certificate, key) if certificate else None,
        resource={**resource, "service.name": name},
        content=_value(environ, CONTENT).lower() in WITH_CONTENT,
    )


class CollectorStore:
    """A collector as the exporter's store. Each batch is one request on a connection that stays open."""

    def __init__(self, collector: Collector, *, version: str | None = None) -> None:
        """`version` is that of the code which runs.

        Raises:
            StoreUnavailable: a file with certificates cannot be read.
        """
        self._collector = collector
        self._resource = dict(collector.resource)
        if version:
            self._resource.setdefault("service.version", version)
        self._has_told = False
        try:
            self._client = httpx.Client(
                verify=collector.certificate or True,
                cert=collector.client,
                timeout=SECONDS,
                # Without their case, as HTTP compares them.
                headers={name.lower(): value for name, value in collector.headers.items()},
            )
        except (OSError, ValueError) as error:
            # The message of an SSL error holds the path of the file.
            raise StoreUnavailable(f"its certificates cannot be used: {type(error).__name__}") from None

    def write(self, records: Sequence[RunRecord]) -> None:
        """Send whole traces in one request."""
        # Late: imports protobuf, which only the exporter's thread needs.
        from graph_agent.tracing.genai_spans import encode_all, rejected_spans

        content = encode_all(records, self._resource, with_content=self._collector.content)
        headers = {"content-type": "application/x-protobuf"}
        if self._collector.compressed:
            content, headers["content-encoding"] = gzip.compress(content, compresslevel=5), "gzip"
        try:
            response = self._client.post(self._collector.url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise StoreUnavailable(type(error).__name__) from error
        if response.status_code in MAY_PASS:
            raise StoreUnavailable(f"HTTP {response.status_code}")
        if not response.is_success:
            raise RecordRefused(f"HTTP {response.status_code}")
        # A success may be partial, and must not be sent again then.
        if (rejected := rejected_spans(response.content)) and not self._has_told:
            self._has_told = True
            logger.warning("the OpenTelemetry collector rejected %d spans of a request; this is said once", rejected)

    def rate(self, trace_id: str, rating: Rating, assessment: str | None) -> str:
        """A collector keeps no feedback.

        Raises:
            Missing: always.
        """
        raise Missing("a collector keeps no feedback")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _url(environ: Mapping[str, str]) -> str | None:
    variable, url = f"{TRACES}ENDPOINT", _value(environ, f"{TRACES}ENDPOINT")
    if not url:
        variable, url = f"{ANY}ENDPOINT", _value(environ, f"{ANY}ENDPOINT")
        if not url:
            return None
        # The variable for all signals has the address without the path of each.
        url = f"{url.rstrip('/')}/v1/traces"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadSetting(f"{variable} is not an address; write it as http://HOST:4318", param=variable)
    return url


def _of_traces(environ: Mapping[str, str], name: str) -> str:
    return _value(environ, f"{TRACES}{name}") or _value(environ, f"{ANY}{name}")


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _pairs(environ: Mapping[str, str], variable: str) -> dict[str, str]:
    """A variable of the form `a=b,c=d`, whose values are percent-encoded."""
    found = {}
    for part in _value(environ, variable).split(","):
        name, equals, value = part.partition("=")
        if not part.strip():
            continue
        name, value = unquote(name).strip(), unquote(value).strip()
        if not (equals and name and (name + value).isprintable() and (name + value).isascii()):
            raise BadSetting(
                f"{variable} is not a list of NAME=VALUE with commas between them; percent-encode other characters",
                param=variable,
            )
        found[name] = value
    return found
