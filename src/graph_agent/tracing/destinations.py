"""Where a workspace stores the traces of an experiment, and the form of their ids there.

The id of a trace in the experiment's own store is `tr-…`. In an experiment that is linked to tables of Unity Catalog it
is `trace:/catalog.schema.prefix/…`. Source: mlflow 3.17.2, `entities/experiment.py` and
`tracing/processor/uc_table.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

LINK = "mlflow.experiment.databricksTraceDestinationPath"
"""The tag of a linked experiment: `catalog.schema.prefix`, or `catalog.schema` for older links."""

SPANS = "mlflow.experiment.databricksTraceSpanStorageTable"
"""The tag that names the table of the spans."""

VARIABLE = "MLFLOW_TRACING_DESTINATION"
"""The environment variable that overrides the experiment's tag. It may only be `catalog.schema`."""

OF_A_SCHEMA = "mlflow_experiment_trace_otel_spans"
"""The table of the spans for a link without a prefix."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of Unity Catalog that hold traces."""

    location: str
    """`catalog.schema.prefix` or `catalog.schema`, as in the ids of traces."""

    spans: str
    """The full name of the table of spans."""

    @classmethod
    def of(cls, tags: Mapping[str, str], environ: Mapping[str, str]) -> Self | None:
        """The tables that an experiment with these tags is linked to. `None` if it stores its traces itself."""
        override = environ.get(VARIABLE, "")
        # The variable may also be the id of an experiment. That says nothing about tables.
        path = override if override.count(".") == 1 else tags.get(LINK, "")
        parts = path.split(".")
        if not all(parts) or len(parts) not in (2, 3):
            return None
        # The tag belongs to the experiment's link. It does not apply if the environment names other tables.
        named = tags.get(SPANS) if path == tags.get(LINK) else None
        default = f"{path}.{OF_A_SCHEMA}" if len(parts) == 2 else f"{path}_otel_spans"
        return cls(path, _full(named, parts) if named else default)


def _full(table: str, parts: list[str]) -> str:
    return table if table.count(".") == 2 else ".".join([*parts[:2], table])


def id_at(trace_id: str, location: str | None) -> str:
    """The id of a trace (`tr-…`) in its store. `location` is that of the tables, or `None` for any other store."""
    return trace_id if location is None else f"trace:/{location}/{digits(trace_id)}"


def digits(trace_id: str) -> str:
    """The 32 hexadecimal digits at the end of both forms of an id."""
    return trace_id.rpartition("/")[2].removeprefix("tr-")
