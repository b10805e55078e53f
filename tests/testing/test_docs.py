"""The example of `docs/testing.md`, run as a user would run it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import tools_condition

from graph_agent import AgentState, Settings, create_app, make_planner, make_tools
from graph_agent.testing import Call, ScriptedChatModel

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


def test_the_example_about_decisions_decides() -> None:
    sent = []

    @tool
    def send_mail(to: str) -> str:
        """Send a mail."""
        sent.append(to)
        return f"sent to {to}"

    model = ScriptedChatModel(Call("send_mail", {"to": "ann"}), "Done.", each_turn=True)
    builder = StateGraph(AgentState)
    builder.add_node("planner", make_planner(model=model, tools=[send_mail], prompt="You send mail."))
    builder.add_node("tools", make_tools([send_mail], approve=["send_mail"]))
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", tools_condition)
    builder.add_edge("tools", "planner")
    [block] = [text for text in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M) if "decide" in text]
    example: dict[str, Any] = {}
    exec(compile(block, str(PAGE), "exec"), example)

    def decide(**decision: Any) -> list[str]:
        app = create_app(Settings(tracing="off", store="memory"), {"mail": builder.compile()}, environ={})
        answered = example["decide"](app, "Mail Ann.", **decision)
        assert answered["status"] == "completed"
        return [item["output"] for item in answered["output"] if item["type"] == "function_call_output"]

    [rejected] = decide(approve=False, reason="not today")
    assert "not today" in rejected
    assert sent == []
    assert decide(approve=True) == ["sent to ann"]
    assert sent == ["ann"]


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
