"""The example of `docs/testing.md`, run as a user would run it."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_complete_example_passes(tmp_path: Path) -> None:
    blocks = re.findall(r"^```(?:python|json)\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    (tmp_path / "graphs").mkdir()
    for name, text in zip(["graphs/weather.py", "langgraph.json", "test_weather.py"], blocks, strict=False):
        (tmp_path / name).write_text(text)
    # Without plugins that this environment has for other tests, and a user has not.
    without = [part for name in ("cacheprovider", "langsmith_plugin", "schemathesis") for part in ("-p", f"no:{name}")]
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", *without], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_it_needs_nothing_of_the_extras_and_is_cheap_to_import() -> None:
    code = (
        "import sys, graph_agent.testing as t; "
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'langchain_core', 'langgraph', 'mlflow', 'httpx'})); "
        "[getattr(t, n) for n in t.__all__]; "
        "print(sorted({n.split('.')[0] for n in sys.modules} "
        "& {'pytest', 'numpy', 'mlflow', 'databricks', 'xllamacpp', 'tokenizers'})); "
        "print(t.__all__ == sorted(t.__all__), set(t.__all__) == set(t._HOMES))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["[]", "[]", "True True"]
