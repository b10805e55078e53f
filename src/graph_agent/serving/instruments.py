"""The instruments that Prometheus reads: their names, labels and buckets. `docs/operating.md` lists them.

No label holds anything of a user. Their values are bounded: graphs that are served, states, dialects, and the codes of
`errors`.
"""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

PREFIX = "graph_agent"

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
"""Buckets for a run and a model call."""

QUICK_SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Buckets for the first text and for a search."""

LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Instruments:
    """The instruments of one app, in a registry of its own."""

    def __init__(self, folder: Path | None = None) -> None:
        """With `folder`, `page` answers for all processes that count there."""
        self._registry = registry = CollectorRegistry()
        self._folder = folder
        self._labels: dict[str, tuple[str, ...]] = {}

        def counter(name: str, says: str, *labels: str) -> Counter:
            self._labels[f"{PREFIX}_{name}_total"] = labels
            return Counter(f"{PREFIX}_{name}", says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str, together: str = "livesum") -> Gauge:
            self._labels[f"{PREFIX}_{name}"] = labels
            # `together` says how the values of several processes make one.
            return Gauge(f"{PREFIX}_{name}", says, labels, registry=registry, multiprocess_mode=together)  # type: ignore[arg-type]

        def histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            self._labels[f"{PREFIX}_{name}"] = labels
            return Histogram(f"{PREFIX}_{name}", says, labels, registry=registry, buckets=buckets)

        self.runs = counter("runs", "Runs that have ended.", "graph", "state", "dialect")
        self.run_errors = counter("run_errors", "Runs that failed, by the code of the error.", "graph", "code")
        self.http_errors = counter("http_errors", "Requests that were answered with an error, by its code.", "code")
        self.steers = counter("steers", "Messages for responses in progress, and what became of them.", "state", "code")
        self.tokens = counter("tokens", "Tokens of the models of ended runs.", "graph", "direction")
        self.run_seconds = histogram("run_seconds", "From the start of a run to its end.", SECONDS, "graph")
        self.first_text_seconds = histogram(
            "first_text_seconds", "From the start of a streamed run to its first text.", QUICK_SECONDS, "graph"
        )
        self.model_seconds = histogram("model_seconds", "Model calls that have ended.", SECONDS, "graph")
        self.search_seconds = histogram("search_seconds", "Searches that have ended.", QUICK_SECONDS, "graph")
        self.active = gauge("active_runs", "Runs that are active now.", "kind")
        self.readers = gauge("readers", "Open streams, and requests that wait for a whole answer.")
        self.websockets = gauge("websockets", "Open WebSockets.")
        self.waiting = gauge("waiting_requests", "Requests that wait until their conversation is free.")
        self.slots = gauge("run_slots", "The most active runs of requests.")
        self.slots_taken = gauge("run_slots_taken", "Slots of runs that are taken.")
        self.threads = gauge("node_threads", "The most threads for synchronous nodes.")
        self.threads_taken = gauge("node_threads_taken", "Threads for synchronous nodes that are in use.")
        self.queue = gauge(
            "background_runs", "Background runs in the store that have not ended.", "state", together="livemax"
        )
        self.store_up = gauge("store_up", "Whether the store answers.", together="livemin")
        self.engine_idle = gauge(
            "background_look_age_seconds", "Since this service last looked for background runs.", together="livemax"
        )
        self.loop_lag = histogram(
            "event_loop_lag_seconds", "How late the event loop was, measured once a second.", LAG_SECONDS
        )
        info = gauge("info", "The version of graph-agent.", "version", together="livemax")
        info.labels(version("graph-agent")).set(1)

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The names of all metrics, as a scrape has them, each with its labels."""
        return dict(self._labels)

    def page(self, accept: str) -> tuple[bytes, str]:
        """All values in the form that `accept` asks for, and the media type of that form."""
        source: Collector = self._registry
        if self._folder is not None:
            source = MultiProcessCollector(None, str(self._folder))  # type: ignore[no-untyped-call]
        encode, media_type = choose_encoder(accept)
        shown = CollectorRegistry()
        shown.register(_Shown(source))
        return encode(shown), media_type


class _Shown(Collector):
    """What is shown of the metrics of a source."""

    def __init__(self, source: Collector) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        for metric in self._source.collect():
            # A graph may use the same client for metrics of its own, which may hold anything. With several processes
            # they are in the same files.
            if metric.name.startswith(f"{PREFIX}_"):
                # When a series was created is of no use, and doubles the number of series.
                metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
                if metric.samples:
                    yield metric

    def describe(self) -> list[Metric]:
        # Without it, a registry collects everything once when this is registered.
        return []
