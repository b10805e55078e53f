"""`graph-agent schedule`: what is in the file and when it runs, or everything that is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from graph_agent.commands.cli import main

GRAPHS = '{"graphs": {"first": "./first.py:graph", "second": "./second.py:graph"}}'

TOKEN = "dapi" + "0123456789abcdef" * 2

Run = Callable[..., tuple[int, str, str]]

GOOD = """
[schedules.daily-report]
cron = "0 7 * * MON-FRI"
timezone = "Europe/Berlin"
owner = "local"
[schedules.daily-report.request]
model = "second"
input = "What happened?"
metadata = { webhook = "here" }

[schedules.hourly]
cron = "@"
owner = "reports"
overlap = "allow"
grace_seconds = 0
request = { input = [{ role = "user", content = "Now?" }], context = { conversation_id = "hourly" } }
""".replace('"@"', '"5 * * * *"')


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "langgraph.json").write_text(GRAPHS)
    (tmp_path / "webhooks.toml").write_text("[webhooks.here]\n")
    monkeypatch.chdir(tmp_path)
    for name in ("GRAPH_AGENT_STORE", "DATABRICKS_APP_NAME"):
        monkeypatch.delenv(name, raising=False)

    def run(text: str | None, **environ: str) -> tuple[int, str, str]:
        if text is not None:
            (tmp_path / "schedules.toml").write_text(text)
        for name, value in environ.items():
            monkeypatch.setenv(f"GRAPH_AGENT_{name}", value)
        status = main(["schedule"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_every_schedule_is_listed_with_its_next_times_graph_and_owner(run: Run) -> None:
    status, said, wrong = run(GOOD)
    assert (status, wrong) == (0, "")
    first, _, second = said.partition("hourly:")
    assert first.startswith("daily-report: 0 7 * * MON-FRI (Europe/Berlin)\n")
    assert "graph second, owner local, overlap skip" in first
    assert first.count("T07:00+0") == 3
    assert "graph first, owner reports, overlap allow" in second
    assert second.count(":05+00:00") == 3
    assert "every caller of this service is local, who cannot read its responses" in second
    assert "note" not in first


def test_no_graph_is_loaded_and_no_secret_of_a_webhook_is_needed(run: Run) -> None:
    # The files of the graphs do not exist, and the target has no secret.
    assert run(GOOD)[0] == 0


def test_all_problems_are_told_at_once_without_a_value(run: Run) -> None:
    text = """
        [schedules.a]
        cron = "61 * * * *"
        timezone = "Europe/hunter2"
        overlap = "hunter2"
        grace_seconds = -1
        request = { input = "Hi", stream = true }
        [schedules.b]
        corn = "* * * * *"
        cron = "* * * * *"
        owner = "local"
        request = { input = "Hi", model = "third" }
        [schedules.c]
        cron = "* * * * *"
        owner = "local"
        request = { input = "Hi", metadata = { webhook = "there" } }
        [schedules.d]
        cron = "* * * * *"
        owner = "local"
    """
    status, said, wrong = run(text, STORE="memory")
    assert (status, said) == (1, "")
    assert "hunter2" not in wrong
    told = [line.removeprefix("FIX  ") for line in wrong.splitlines()]
    assert [one.split()[0] for one in told] == [
        "GRAPH_AGENT_SCHEDULES", "`schedules.a.timezone`", "`schedules.a.owner`", "`schedules.a.overlap`",
        "`schedules.a.grace_seconds`", "`schedules.a.request.stream`", "`schedules.b.corn`", "`schedules.b.request`:",
        "`schedules.c.request`:", "`schedules.d.request`",
    ]  # fmt: skip
    assert "needs a store that outlives the process" in told[0]
    assert "did you mean `cron`?" in told[6]
    assert "No graph named 'third'; known: first, second" in told[7]
    assert "known: here" in told[8]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ('{ input = "" }', "`input` must be"),
        ('{ imput = "Hi", input = "Hi" }', "`imput` is not a field of this API"),
        ('{ input = "Hi", background = false }', "background` must be left out"),
        ('{ input = "Hi", store = false }', "store` must be left out"),
        ('{ input = "Hi", max_output_tokens = 0 }', "`max_output_tokens` must be"),
        (f'{{ input = "Hi", custom_inputs = {{ key = "{TOKEN}" }} }}', "looks like a secret"),
        ('{ input = "Hi", metadata = "x" }', "`metadata` must be an object"),
        ('"Hi"', "write a table [schedules.a.request]"),
        ('{ input = "Hi", max_output_tokens = 99999999999999999999 }', "a value that JSON does not have"),
    ],
)
def test_a_request_is_checked_as_one_that_a_client_sends(run: Run, request_: str, words: str) -> None:
    status, _, wrong = run(f'[schedules.a]\ncron = "* * * * *"\nowner = "local"\nrequest = {request_}')
    assert (status, len(wrong.splitlines())) == (1, 1), wrong
    assert words in wrong


def test_a_service_that_needs_the_token_of_a_user_has_no_schedules(run: Run) -> None:
    status, _, wrong = run(GOOD, AUTHORIZATION="user-required")
    assert status == 1
    assert "does not go with GRAPH_AGENT_AUTHORIZATION=user-required" in wrong


def test_without_a_file_there_is_nothing_to_list(run: Run) -> None:
    status, _, wrong = run(None)
    assert (status, wrong) == (1, "FIX  there is no schedules.toml beside langgraph.json\n")
    assert run("")[:2] == (0, "no schedules in schedules.toml\n")


def test_another_file_can_be_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "others.toml").write_text(GOOD)
    assert run(None, SCHEDULES="others.toml")[0] == 0
    status, _, wrong = run(None, SCHEDULES="nowhere.toml")
    assert status == 1
    assert "cannot be read" in wrong
