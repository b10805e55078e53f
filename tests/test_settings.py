"""Settings: read once, checked, and listed in the documentation under the same names."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from graph_agent.commands.cli import main
from graph_agent.errors import BadSetting
from graph_agent.serving.server import serve
from graph_agent.settings import Settings, as_environment

ROOT = Path(__file__).parents[1]


def test_the_documentation_lists_exactly_the_settings_there_are() -> None:
    documented = set(re.findall(r"GRAPH_AGENT_([A-Z_]+[A-Z])", (ROOT / "docs/settings.md").read_text()))
    assert documented == {field.name.upper() for field in fields(Settings)}


def test_the_readme_names_every_setting() -> None:
    readme = (ROOT / "README.md").read_text().partition("## Settings of the service")[2].partition("\n## ")[0]
    named = re.findall(r"`([A-Z_]+)`", readme)
    assert sorted(named) == sorted(field.name.upper() for field in fields(Settings))


def test_every_field_says_what_it_means() -> None:
    source = (ROOT / "src/graph_agent/settings.py").read_text()
    for field in fields(Settings):
        assert re.search(rf'\n    {field.name}: [^\n]*\n    """\S', source), field.name


def test_values_are_read_with_their_types() -> None:
    settings = Settings.from_environment({"GRAPH_AGENT_MAX_RUNS": "3", "GRAPH_AGENT_CONFIG": "a.json"}, port=1)
    assert (settings.max_runs, settings.config, settings.port) == (3, Path("a.json"), 1)


def test_the_platform_decides_the_port_and_is_reached_from_outside() -> None:
    settings = Settings.from_environment({"DATABRICKS_APP_PORT": "8123", "GRAPH_AGENT_PORT": "9"})
    assert (settings.host, settings.port) == ("0.0.0.0", 8123)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRAPH_AGENT_MAX_RUNS", "many"),
        ("GRAPH_AGENT_MAX_RUNS", "0"),
        ("GRAPH_AGENT_MAX_SECONDS", "nan"),
        ("GRAPH_AGENT_PORT", "70000"),
        ("GRAPH_AGENT_TRACING", "yes"),
        ("GRAPH_AGENT_PAGE", "yes"),
        ("GRAPH_AGENT_PAGE_COLOR", "red"),
        ("GRAPH_AGENT_PAGE_COLOR_DARK", "#1a73e8;"),
        ("GRAPH_AGENT_PAGE_TITLE", "x" * 101),
        ("GRAPH_AGENT_PAGE_DISCLAIMER", "x" * 1001),
        ("GRAPH_AGENT_MAX_RUN", "3"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as refused:
        Settings.from_environment({name: value})
    assert refused.value.param == name


def test_another_process_reads_the_same_settings() -> None:
    settings = Settings.from_environment({}, port=4321, config=Path("x.json"), default_graph="g", max_seconds=1.5)
    assert Settings.from_environment(as_environment(settings)) == settings


TIMES = [name for field in fields(Settings) if (name := field.name).endswith("_seconds") and name != "grace_seconds"]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "0", "-1", "86401"])
@pytest.mark.parametrize("name", TIMES)
def test_a_time_is_above_zero_and_at_most_a_day_and_the_message_says_so(name: str, value: str) -> None:
    variable = f"GRAPH_AGENT_{name.upper()}"
    with pytest.raises(BadSetting, match=f"{variable} must be above 0 and at most 86400") as refused:
        Settings.from_environment({variable: value})
    assert refused.value.param == variable
    assert getattr(Settings.from_environment({variable: "86400"}), name) == 86_400


@pytest.mark.parametrize("value", ["inf", "nan", "-1", "86401"])
def test_the_time_of_grace_may_be_zero_and_is_at_most_a_day(value: str) -> None:
    variable = "GRAPH_AGENT_GRACE_SECONDS"
    with pytest.raises(BadSetting, match=f"{variable} must be at least 0 and at most 86400"):
        Settings.from_environment({variable: value})
    assert Settings.from_environment({variable: "0"}).grace_seconds == 0


@pytest.mark.parametrize("count", ["0", "-1", "two", "65", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--workers", count])
    assert ended.value.code == 2
    assert "is not a number of processes; use a number from 1 to 64" in capsys.readouterr().err


def test_a_service_without_workers_is_refused() -> None:
    with pytest.raises(BadSetting, match="at least one worker"):
        serve(Settings(), workers=0)
