"""The port answers before anything heavy is imported."""

import subprocess
import sys

HEAVY = ("langgraph", "langchain_core", "mlflow", "databricks_langchain", "openai", "pandas", "pydantic", "psycopg")


def test_the_app_imports_nothing_heavy() -> None:
    code = f"import sys; import graph_agent.serving.server; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
