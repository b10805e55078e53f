"""Score a table of questions with a logged model, on Spark.

    python examples/batch/score.py --model models:/m-… --input questions.csv --output scored

The model is one that `graph-agent log-model --table` logged. `--demo` makes up 1,000 questions, two of them bad, and
starts an endpoint that answers at once; without it the endpoint is that of the model's settings and of the
`DATABRICKS_*` variables. On a cluster, give `--env-manager uv`: the model then runs in an environment of its own.
"""

# ruff: noqa: T201
import argparse
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

from demo_endpoint import REFUSED, demo_endpoint

DEMO_ROWS = 1000
PARTITIONS = 2
"""Of the demonstration: one per core of a small machine. Each loads the model once, and runs 16 rows at a time."""


def main() -> int:
    options = _options()
    # Spark would take the first `python3` of the path for its workers.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with ExitStack() as stack:
        if options.demo:
            # Before Spark starts: its Python workers inherit the variables.
            os.environ.update(stack.enter_context(demo_endpoint()))
        return score(options)


def score(options: argparse.Namespace) -> int:
    """Score, write, and say how it went; 1 where every row failed."""
    import mlflow
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    began = time.monotonic()
    builder = SparkSession.builder.appName("graph-agent batch").config("spark.ui.enabled", "false")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    answer = mlflow.pyfunc.spark_udf(spark, options.model, env_manager=options.env_manager)
    questions = made_up(spark) if options.demo else read(spark, options.input)
    started = time.monotonic()
    scored = questions.withColumn("scored", answer(f.struct("question"))).select(*questions.columns, "scored.*")
    scored.write.mode("overwrite").parquet(options.output)
    ended = time.monotonic()

    written = spark.read.parquet(options.output)
    rows, failed = written.count(), written.where("status <> 'completed'").count()
    print(
        f"scored {rows} rows in {ended - started:.1f} s, {rows / (ended - started):.0f} rows/s, with the loading of the"
    )
    print(f"model in each worker; starting Spark took {started - began:.1f} s")
    for row in written.groupBy("status", "error").count().orderBy("count", ascending=False).collect():
        print(f"  {row['count']:6} {row['status']} {row['error']}")
    print(f"written to {options.output}; for instance:")
    for row in written.where("status = 'completed'").limit(2).collect():
        print(f"  {row['question']} -> {row['answer']}")
    spark.stop()
    return int(failed == rows)


def made_up(spark: Any) -> Any:
    """The demonstration's table; one question is missing, and one the endpoint refuses."""
    rows = [(number, f"What is row {number}?") for number in range(DEMO_ROWS)]
    rows[250], rows[750] = (250, None), (750, f"Please {REFUSED}.")
    return spark.createDataFrame(rows, "id long, question string").repartition(PARTITIONS)


def read(spark: Any, path: str) -> Any:
    """A CSV file with a header, or a Parquet folder; with a column `question`."""
    return spark.read.option("header", "true").csv(path) if path.endswith(".csv") else spark.read.parquet(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score a table of questions with a logged model, on Spark.")
    parser.add_argument("--model", required=True, help="the URI that `graph-agent log-model --table` printed")
    parser.add_argument("--input", help="a CSV file with a header, or a Parquet folder")
    parser.add_argument("--output", default="scored", help="the Parquet folder to write (default: scored)")
    parser.add_argument("--env-manager", default="local", choices=["local", "uv", "virtualenv"])
    parser.add_argument("--demo", action="store_true", help="questions and an endpoint made up")
    options = parser.parse_args()
    if not options.demo and not options.input:
        parser.error("give --input, or --demo")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
