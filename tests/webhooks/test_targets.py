"""The file of webhooks: what it may say, and that all of its problems are told at once, without a secret."""

from pathlib import Path

import pytest
from tests.webhooks.receiving import OLDER, SECRET

from graph_agent.errors import BadFile
from graph_agent.redaction import redact
from graph_agent.webhooks.targets import EVENTS, read_targets

ENVIRON = {"HOOK": SECRET, "HOOK_OLD": OLDER, "SHORT": "whsec_AAAA", "PLAIN": "x" * 40, "EMPTY": ""}


def written(folder: Path, text: str) -> Path:
    file = folder / "webhooks.toml"
    file.write_text(text)
    return file


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(BadFile) as refused:
        read_targets(written(folder, text), ENVIRON)
    assert refused.value.param == "GRAPH_AGENT_WEBHOOKS"
    for secret in ENVIRON.values():
        assert not secret or secret not in refused.value.message
    return refused.value.problems


def test_a_target_has_a_url_secrets_and_events(tmp_path: Path) -> None:
    text = """
        [webhooks.billing]
        url = "https://example.com/hooks"
        secret_variables = ["HOOK", "HOOK_OLD"]
        events = ["response.failed"]

        [webhooks.here]
        url = "http://127.0.0.1:9000/"
        secret_variables = ["HOOK"]
    """
    targets = read_targets(written(tmp_path, text), ENVIRON)
    billing, here = targets["billing"], targets["here"]
    assert (billing.url, billing.events) == ("https://example.com/hooks", {"response.failed"})
    assert billing.keys == (b"a" * 32, b"b" * 32)
    assert (here.events, here.on_loopback, billing.on_loopback) == (set(EVENTS), True, False)


def test_without_a_file_there_are_no_targets() -> None:
    assert read_targets(None, ENVIRON) == {}


def test_secrets_and_urls_are_never_shown(tmp_path: Path) -> None:
    text = '[webhooks.a]\nurl = "https://example.com/planted"\nsecret_variables = ["HOOK"]'
    [target] = read_targets(written(tmp_path, text), ENVIRON).values()
    assert "planted" not in repr(target)
    assert "aaaa" not in repr(target)
    assert SECRET.removeprefix("whsec_") not in redact(f"it was {SECRET} or {SECRET.removeprefix('whsec_')}")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = """
        [webhooks.a]
        url = "https://user:hunter2@example.com/"
        secret_variables = ["MISSING"]
        [webhooks.b]
        ulr = "https://example.com/"
        [webhooks."not a name"]
        [other]
    """
    found = problems(tmp_path, text)
    assert [one.split()[0] for one in found] == [
        "`other`", "`webhooks.a.url`", "`webhooks.a.secret_variables`:", "`webhooks.b.ulr`", "`webhooks.b.url`",
        "`webhooks.b.secret_variables`", "the",
    ]  # fmt: skip
    assert "hunter2" not in "".join(found)
    assert "MISSING is not set" in found[2]
    assert "did you mean `url`?" in found[3]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "http://10.0.0.1/", "http://169.254.169.254/latest", "ftp://example.com/", "example.com",
        "https://", "https://exa mple.com/", "https://example.com:99999/", "https://[::1", "https://example.com/#part",
        "http://localhost.example.com/", "https://user@example.com/",
    ],
)  # fmt: skip
def test_a_url_that_is_not_https_and_not_of_this_machine_is_refused(tmp_path: Path, url: str) -> None:
    [problem] = problems(tmp_path, f'[webhooks.a]\nurl = "{url}"\nsecret_variables = ["HOOK"]')
    assert problem.startswith("`webhooks.a.url` must")


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (f'["{SECRET}"]', "must be names of environment variables"),
        ('["whsec_ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"]', "must be names of environment variables"),
        ('["EMPTY"]', "EMPTY is not set"),
        ('["SHORT"]', "the value of SHORT must have 24 to 64 bytes"),
        ('["PLAIN"]', "the value of PLAIN must begin with whsec_"),
        ("[]", "must be a list of 1 to 2 texts"),
        ('["HOOK", "HOOK_OLD", "HOOK"]', "must be a list of 1 to 2 texts"),
        ('"HOOK"', "must be a list of 1 to 2 texts"),
    ],
)
def test_secrets_are_in_the_environment_and_have_their_form(tmp_path: Path, variables: str, words: str) -> None:
    [problem] = problems(tmp_path, f'[webhooks.a]\nurl = "https://example.com"\nsecret_variables = {variables}')
    assert words in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[webhooks.a\nurl = 'hunter2'", "it is not TOML, see line 1"),
        ("webhooks = 1", "`webhooks` must be a table"),
        ("[webhooks]\na = 1", "`webhooks.a` must be a table"),
        ("a = " + "[" * 5000, "it is not TOML"),
        ("# " + "x" * 1_000_001, "it is larger than 1000000 bytes"),
        ("[webhooks]\n" + "\n".join(f"a{n} = {{}}" for n in range(201)), "it has more than 200 entries"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in one for one in problems(tmp_path, text))


def test_a_file_that_is_missing_or_not_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="cannot be read"):
        read_targets(tmp_path / "nowhere.toml", ENVIRON)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadFile, match="not UTF-8"):
        read_targets(tmp_path / "bytes.toml", ENVIRON)
