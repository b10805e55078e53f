"""MLflow turned to the place of the traces, while a service goes on in other threads."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

EVALUATING = """
import os, pathlib, sys, threading
import langchain, openai
from graph_agent.evaluating.tracking import tracked
from graph_agent.settings import Settings

def import_what_is_not_there():
    while True:
        try:
            import litellm_of_another_name
        except ImportError:
            pass

with tracked(Settings(cache_dir=pathlib.Path(sys.argv[1])), {}) as experiment:
    import mlflow
    from mlflow.genai.scorers import scorer

    @scorer
    def good(outputs):
        return True

    for _ in range(2):
        threading.Thread(target=import_what_is_not_there, daemon=True).start()
    for _ in range(3):
        with mlflow.start_run(experiment_id=experiment):
            mlflow.genai.evaluate(data=[{"inputs": {"input": "Hi"}, "outputs": "Ho"}], scorers=[good])
print("ended", flush=True)
os._exit(0)
"""


def test_an_evaluation_and_a_thread_that_imports_do_not_wait_for_each_other(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", EVALUATING, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=ROOT)
    assert ended.stdout.endswith("ended\n"), ended.stderr
