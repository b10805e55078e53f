"""Where a workspace keeps the traces of an experiment, and what their ids look like there.

An experiment's own store knows a trace as `tr-…`. An experiment that is linked to tables of Unity Catalog knows it as
`trace:/catalog.schema.prefix/…`. Source: mlflow 3.17.2, `entities/experiment.py` and `tracing/processor/uc_table.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

LINK = "mlflow.experiment.databricksTraceDestinationPath"
"""The tag of an experiment that is linked: `catalog.schema.prefix`, or `catalog.schema` of older links."""

SPANS = "mlflow.experiment.databricksTraceSpanStorageTable"
"""The tag that names the table of its spans."""

VARIABLE = "MLFLOW_TRACING_DESTINATION"
"""The environment's word on it, which goes before the experiment's; `catalog.schema` only."""

OF_A_SCHEMA = "mlflow_experiment_trace_otel_spans"
"""The table of spans of a link without a prefix."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables of Unity Catalog that hold traces."""

    location: str
    """`catalog.schema.prefix` or `catalog.schema`, as it stands in the ids."""

    spans: str
    """The full name of the table of spans."""

    @classmethod
    def of(cls, tags: Mapping[str, str], environ: Mapping[str, str]) -> Self | None:
        """Those an experiment with these tags is linked to; `None` where it keeps its traces itself."""
        told = environ.get(VARIABLE, "")
        path = told if told.count(".") == 1 else tags.get(LINK, "")
        parts = path.split(".")
        if not all(parts) or len(parts) not in (2, 3):
            return None
        named = tags.get(SPANS) if path == tags.get(LINK) else None
        default = f"{path}.{OF_A_SCHEMA}" if len(parts) == 2 else f"{path}_otel_spans"
        return cls(path, _full(named, parts) if named else default)


def _full(table: str, parts: list[str]) -> str:
    return table if table.count(".") == 2 else ".".join([*parts[:2], table])


def id_at(trace_id: str, location: str | None) -> str:
    """The id of a trace (`tr-…`) where it is kept; `location` is that of the tables, if it is in such."""
    return trace_id if location is None else f"trace:/{location}/{digits(trace_id)}"


def digits(trace_id: str) -> str:
    """The 32 hexadecimal digits that both forms of an id end with."""
    return trace_id.rpartition("/")[2].removeprefix("tr-")
