"""Score a table of questions with a logged model, on Spark.

    python examples/batch/score.py --model models:/m-… --input questions.csv --output scored

Log the model with `graph-agent log-model --table`. `--demo` generates 1,000 questions, two of them bad, and starts an
endpoint that answers immediately. Without it, the model's settings and the `DATABRICKS_*` variables name the endpoint.
On a cluster, pass `--env-manager uv`, which runs the model in a separate environment.
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
"""Partitions of the demonstration, one per core of a small machine. Each loads the model once, and runs 16 rows
concurrently."""


def main() -> int:
    options = _options()
    # Without this Spark runs its workers with the first `python3` on the path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with ExitStack() as stack:
        if options.demo:
            # Before Spark starts, as its Python workers inherit the variables.
            os.environ.update(stack.enter_context(demo_endpoint()))
        return score(options)


def score(options: argparse.Namespace) -> int:
    """Score the table, write the result and print a summary. Returns 1 if every row failed."""
    import mlflow
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    began = time.monotonic()
    builder = SparkSession.builder.appName("graph-agent batch").config("spark.ui.enabled", "false")
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    answer = mlflow.pyfunc.spark_udf(spark, options.model, env_manager=options.env_manager)
    questions = demo_questions(spark) if options.demo else read(spark, options.input)
    started = time.monotonic()
    scored = questions.withColumn("scored", answer(f.struct("question"))).select(*questions.columns, "scored.*")
    scored.write.mode("overwrite").parquet(options.output)
    ended = time.monotonic()

    written = spark.read.parquet(options.output)
    rows, failed = written.count(), written.where("status <> 'completed'").count()
    print(
        f"scored {rows} rows in {ended - started:.1f} s, {rows / (ended - started):.0f} rows/s, including loading the"
    )
    print(f"model in each worker; starting Spark took {started - began:.1f} s")
    for row in written.groupBy("status", "error").count().orderBy("count", ascending=False).collect():
        print(f"  {row['count']:6} {row['status']} {row['error']}")
    print(f"written to {options.output}; for example:")
    for row in written.where("status = 'completed'").limit(2).collect():
        print(f"  {row['question']} -> {row['answer']}")
    spark.stop()
    return int(failed == rows)


def demo_questions(spark: Any) -> Any:
    """The demonstration's table. One question is missing, and the endpoint refuses one."""
    rows = [(number, f"What is row {number}?") for number in range(DEMO_ROWS)]
    rows[250], rows[750] = (250, None), (750, f"Please {REFUSED}.")
    return spark.createDataFrame(rows, "id long, question string").repartition(PARTITIONS)


def read(spark: Any, path: str) -> Any:
    """The table in a CSV file with a header, or in a Parquet folder. It has a column `question`."""
    return spark.read.option("header", "true").csv(path) if path.endswith(".csv") else spark.read.parquet(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score a table of questions with a logged model, on Spark.")
    parser.add_argument("--model", required=True, help="the URI that `graph-agent log-model --table` printed")
    parser.add_argument("--input", help="a CSV file with a header, or a Parquet folder")
    parser.add_argument("--output", default="scored", help="the Parquet folder to write (default: scored)")
    parser.add_argument("--env-manager", default="local", choices=["local", "uv", "virtualenv"])
    parser.add_argument("--demo", action="store_true", help="generate questions and start a fake endpoint")
    options = parser.parse_args()
    if not options.demo and not options.input:
        parser.error("pass --input or --demo")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
