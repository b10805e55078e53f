"""The port answers before anything heavy is imported: what the app itself imports stays light."""

import subprocess
import sys

HEAVY = ("langgraph", "langchain_core", "mlflow", "databricks.sdk", "databricks_langchain")


def test_the_app_is_made_without_what_takes_seconds_to_import() -> None:
    code = f"import sys, graph_agent.serving.app; print([one for one in {HEAVY} if one in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
