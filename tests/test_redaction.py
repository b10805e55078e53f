"""Secrets out of text: known kinds, known values, texts that come in pieces."""

import json
import secrets
import string
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graph_agent.redaction import Redactor, redact, redact_value, secrets_of, with_hidden_values

ROOT = Path(__file__).parent.parent
LETTERS = string.ascii_letters + string.digits


def drawn(length: int, alphabet: str = LETTERS) -> str:
    """Fresh random characters, a digit among them."""
    return "".join(secrets.choice(alphabet) for _ in range(length - 1)) + "7"


def hexes(length: int) -> str:
    return drawn(length, "0123456789abcdef")


PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "\n".join(drawn(64) for _ in range(12)) + "\n-----END RSA PRIVATE KEY-----"
WORD = drawn(14)
PLANTED = {
    # The text, and the part of it that has to go.
    "databricks token": (token := f"dapi{hexes(32)}-2", token[4:36]),
    "databricks secret": (secret := f"dose{hexes(32)}", secret[4:]),
    "jwt": (jwt := f"eyJ{drawn(30)}.eyJ{drawn(60)}.{drawn(43)}", jwt[3:]),
    "github": (github := f"ghp_{drawn(36)}", github[4:]),
    "github fine-grained": (fine := f"github_pat_{drawn(60)}", fine[11:]),
    "gitlab": (gitlab := f"glpat-{drawn(20)}", gitlab[6:]),
    "aws": (aws := f"AKIA{drawn(16, string.ascii_uppercase + '234567')}", aws[4:]),
    "openai": (openai := f"sk-proj-{drawn(40)}", openai[3:]),
    "anthropic": (anthropic := f"sk-ant-api03-{drawn(40)}", anthropic[3:]),
    "slack": (slack := f"xoxb-{drawn(11, string.digits)}-{drawn(24)}", slack[5:]),
    "google": (google := f"AIza{drawn(35)}", google[4:]),
    "private key": (PEM, PEM[40:-40]),
    "private key in json": (json.dumps(PEM), json.dumps(PEM)[45:-45]),
    "dsn": (f"postgres://app:{WORD}@db.internal:5432/main", WORD),
    "dsn with an at": (f"mysql+pymysql://app:{WORD}@x@db/main", WORD),
    "bearer": (f"Authorization: Bearer {WORD}", WORD),
    "azure storage": (f"AccountName=a;AccountKey={drawn(40)}{WORD}==;EndpointSuffix=x", WORD),
    "azure sas": (f"https://a.blob/x?sv=2022&sig={drawn(30)}{WORD}%3D&se=1", WORD),
    "password pair": (f"host=db password={WORD} user=app", WORD),
    "password of letters": ("host=db password=swordfishes user=app", "swordfish"),
    "json pair": (f'{{"client_secret": "{WORD}"}}', WORD),
    "escaped json pair": (f'{{\\"api_key\\": \\"{WORD}\\"}}', WORD),
    "environment": (f"export AWS_SECRET_ACCESS_KEY={drawn(30)}{WORD}", WORD),
    "quoted with a slash": ("password: 'abc/def'", "abc/def"),
    "camel case": (f"clientSecret: '{WORD}'", WORD),
}
ORDINARY = [
    "Price per token: 0.000015 dollars.",
    "eos_token: 128009",
    "token: 2024-11-22T10:00",
    "cut_token: 2024-11-22T10:00:00Z, of a log",
    "api_key=settings.api_key_v2",
    "access_token: https://example.com/oauth2",
    'access_token="https://example.com/oauth2"',
    "secret: chapter12 is out",
    "next token: position+12345",
    "The first token: 'Deutschland' wins",
    "pwd=/home/user",
    "client_secret: /etc/keys/client2.pem",
    "private_key=keys/service_account_2.json",
    "session_token=12345678901234567890",
    "basic authentication-2.0",
    "the bearer international-standard-2024 says",
    "-----BEGIN PRIVATE KEY----- is the first line and it goes on with all that a key has, line by line. Then more.",
]
ADVERSARIES = {
    "eyJ" * 7_000: "JWT beginnings",
    "eyJaaaaaaaa." * 1_700: "JWT halves",
    "\\neyJa" * 3_500: "JWT beginnings at escaped line ends",
    "sk-" * 7_000: "key beginnings",
    "password=" * 2_300: "pairs of pairs",
    'password="' * 2_000: "quoted pairs",
    "token: " * 3_000: "pairs without values",
    "token" + " " * 20_000: "spaces",
    "://a:" * 4_000: "connection strings",
    "://" + "a" * 20_000: "one long user",
    "://a:" + "b@" * 10_000: "many hosts",
    "bearer " * 3_000: "schemes",
    "-----BEGIN PRIVATE KEY-----" * 750: "key blocks that never end",
    "-----BEGIN PRIVATE KEY-----" + "a" * 20_000: "one key block that never ends",
    "dapi" * 5_000: "token beginnings",
    "sig=" * 5_000: "signatures",
    "pwd=" + "a." * 10_000: "dotted paths",
    "api_key=" + "a." * 10_000: "dotted names",
    "api_key=/" * 2_300: "pairs of paths",
    "api_key=" + "/a" * 10_000: "one long path",
    "-----BEGIN PRIVATE KEY-----" + "\n" * 20_000: "one key block without lines",
    "-----BEGIN PRIVATE KEY-----" + ("a" * 16 + "\n") * 1_200: "one key block of lines that never end",
    ";base64," * 2_500: "payloads without any",
}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("frame", ["{}", "see {} there", "line\\n{}", "({})", "a\n{}\nb", "%20{}", "long " * 60 + "{}"])
def test_a_secret_is_replaced_by_its_kind(kind: str, frame: str) -> None:
    text, core = PLANTED[kind]
    shown = redact(frame.format(text))
    assert core not in shown
    assert "[redacted " in shown
    assert redact(shown) == shown


@pytest.mark.parametrize("text", ORDINARY)
def test_what_only_looks_like_a_pair_stays(text: str) -> None:
    assert redact(text) == text
    assert redact(json.dumps({"a": text})) == json.dumps({"a": text})
    redactor = Redactor()
    assert "".join(map(redactor.feed, text)) + redactor.flush() == text


def test_a_key_of_small_and_capital_letters_digits_and_slashes_is_no_path() -> None:
    key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    assert redact(f"AWS_SECRET_ACCESS_KEY={key}, TOKEN={key}") == (
        "AWS_SECRET_ACCESS_KEY=[redacted secret], TOKEN=[redacted secret]"
    )


def test_of_a_key_block_the_prose_behind_it_stays() -> None:
    cut_off = PEM.removesuffix("-----END RSA PRIVATE KEY-----")
    assert redact(f"{PEM}\nis mine.") == "[redacted private key]\nis mine."
    assert redact(f"{cut_off}and here it ends") == "[redacted private key]\nand here it ends"


def test_what_images_and_files_hold_by_chance_stays() -> None:
    google = PLANTED["google"][0]
    image = f"data:image/png;base64,{drawn(300)}/{google}/{google}+{drawn(300)}=="
    assert redact(f"See {image}.") == f"See {image}."
    assert redact(f'{{"a": "{image}", "b": "{google}"}}') == f'{{"a": "{image}", "b": "[redacted Google key]"}}'
    # Too short for an image.
    assert google not in redact(f"data:text/plain;base64,{google}")
    assert redact(drawn(60) + google) != "[redacted Google key]"


def test_the_address_and_the_content_of_an_image_or_a_file_are_left_as_they_are_but_for_known_values() -> None:
    google = PLANTED["google"][0]
    content = [
        {"type": "input_image", "image_url": f"https://a.blob/x.png?sv=2022&sig={drawn(40)}&se=1", "detail": "low"},
        {"type": "image_url", "image_url": {"url": f"data:image/png,{google}", "detail": "low"}},
        {"type": "input_file", "file_data": f"{drawn(300)}/{google}", "filename": "x.bin"},
    ]
    assert redact_value(content) == content
    assert redact_value({"file_data": google}) == {"file_data": "[redacted Google key]"}
    assert redact_value({"image_url": f"https://me:{WORD}@a"}) == {"image_url": "https://me:[redacted password]@a"}
    assert redact_value([{"image_url": f"see {google}"}]) == [{"image_url": "see [redacted Google key]"}]
    with with_hidden_values(["a-known-value-1"]):
        assert redact_value({"image_url": "https://a/a-known-value-1"}) == {
            "image_url": "https://a/[redacted known secret]"
        }


def test_of_a_letter_that_is_longer_in_lower_case_the_places_are_right() -> None:
    assert redact("İİİİ password=hunter2-5f0c!") == "İİİİ password=[redacted password]"


def test_of_a_connection_string_user_and_host_stay() -> None:
    assert redact("postgres://app:hunter2@db/main") == "postgres://app:[redacted password]@db/main"


def test_json_with_a_marker_in_it_is_still_json() -> None:
    for text, core in PLANTED.values():
        inner = json.dumps({"a": text, "b": json.dumps({"c": text})})
        shown = redact(inner)
        json.loads(json.loads(shown)["b"])
        assert core not in shown


def test_values_under_telling_keys_go_whole() -> None:
    given_value = {"user": "ann", "db_password": "correct horse", "deep": [{"apiKey": "abc", "n": 3}], "tokens": 12}
    kept = {"user": "ann", "db_password": "[redacted secret]", "deep": [{"apiKey": "[redacted secret]", "n": 3}]}
    assert redact_value(given_value) == kept | {"tokens": 12}


def test_known_values_go_in_every_form_and_only_while_known() -> None:
    value = f'odd "{drawn(10)}" värde/+='
    forms = [value, json.dumps({"a": value}), json.dumps({"a": value}, ensure_ascii=False)]
    with with_hidden_values([value]):
        assert all(value[5:15] not in redact(form) for form in forms)
        with with_hidden_values(["another-value-1"]):
            assert redact(f"{value} another-value-1") == "[redacted known secret] [redacted known secret]"
    assert redact(value) == value


def test_the_environment_tells_its_secrets_by_their_names() -> None:
    environ = {"DATABRICKS_CLIENT_SECRET": "s" * 20, "OPENAI_API_KEY": "k" * 20, "A_TOKEN": "short", "PATH": "p" * 20}
    assert secrets_of(environ) == ["s" * 20, "k" * 20]


def test_a_password_of_a_database_is_a_secret_wherever_the_environment_has_it() -> None:
    environ = {
        "GRAPH_AGENT_STORE": "postgresql://agent:s3cret%2Fword@db.example.com:5432/agents?sslmode=require",
        "PGPASSWORD": "another-s3cret",
        "PGUSER": "agent",
        "SOME_URL": "https://example.com:8000/a@b:c",
        "LOCAL": "postgres://postgres:postgres@localhost/db",
    }
    assert secrets_of(environ) == ["another-s3cret", "s3cret/word"]


@pytest.mark.parametrize("word", ["anything", "postgres", "not-needed", "no-key-required", "CHANGE_ME"])
def test_an_ordinary_word_in_such_a_variable_is_no_secret(word: str) -> None:
    assert secrets_of({"OPENAI_API_KEY": word, "POSTGRES_PASSWORD": word}) == []
    assert secrets_of({"OPENAI_API_KEY": f"{word}-4711"}) == [f"{word}-4711"]


def sources() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder, pattern in (("docs", "*.md"), ("src", "*.py"), ("graphs", "*.py")):
        yield from (ROOT / folder).rglob(pattern)


def test_nothing_in_this_projects_own_pages_and_code_is_taken_for_a_secret() -> None:
    changed = [path.name for path in sources() if redact(text := path.read_text()) != text]
    assert changed == []


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_can_be_redacted_twice(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@given(st.lists(st.text(alphabet="abcdeks .,-_\n", max_size=8), max_size=40))
def test_text_without_secrets_passes_a_stream_unchanged(pieces: list[str]) -> None:
    redactor = Redactor()
    assert "".join(map(redactor.feed, pieces)) + redactor.flush() == "".join(pieces)


@example("escaped json pair", [1, 1, 5], "")
@given(
    st.sampled_from(sorted(PLANTED)), st.lists(st.integers(1, 9), min_size=1), st.sampled_from(["", " and on", "\n"])
)
def test_no_secret_comes_through_a_stream_however_it_is_cut(kind: str, cuts: list[int], after: str) -> None:
    text, core = PLANTED[kind]
    text = f"Look: {text}{after}"
    redactor, shown, place, turn = Redactor(), "", 0, 0
    while place < len(text):
        shown += redactor.feed(text[place : place + cuts[turn % len(cuts)]])
        place, turn = place + cuts[turn % len(cuts)], turn + 1
    shown += redactor.flush()
    # Of a key block the middle tells enough.
    assert core not in shown
    assert core[len(core) // 3 : -len(core) // 3 or None] not in shown
    assert shown.endswith(after)


@given(st.lists(st.integers(1, 9), min_size=1))
def test_a_known_value_does_not_come_through_a_stream(cuts: list[int]) -> None:
    value = "Zq-4711-known-value"
    with with_hidden_values([value]):
        redactor, shown, place, turn = Redactor(), "", 0, 0
        text = f"It is {value}, I think."
        while place < len(text):
            shown += redactor.feed(text[place : place + cuts[turn % len(cuts)]])
            place, turn = place + cuts[turn % len(cuts)], turn + 1
        shown += redactor.flush()
    assert value[2:] not in shown
    assert shown.endswith(", I think.")


def test_ordinary_words_are_never_held_back() -> None:
    redactor = Redactor()
    text = "The passwords page says: set a token of your own, e.g. in docs/tokens.md (secret)!"
    words = text.split()
    assert [redactor.feed(f" {word}") for word in words] == [f" {word}" for word in words]


def test_what_is_held_back_is_bounded() -> None:
    redactor = Redactor()
    shown = "".join(redactor.feed("a" * 100) for _ in range(5) if redactor.feed("eyJ") or True)
    for _ in range(1_000):
        shown += redactor.feed("a" * 100)
    assert len(shown) > 80_000


@pytest.mark.parametrize("unit", ADVERSARIES, ids=ADVERSARIES.values())
def test_the_time_is_linear_for_whoever_means_harm(unit: str) -> None:
    def seconds(text: str) -> float:
        began = time.thread_time()
        redact(text)
        return time.thread_time() - began

    # Fifty times the text, to a megabyte. Quadratic would be 2,500 times the time.
    short = min(seconds(unit) for _ in range(3))
    assert seconds(unit * 50) < 400 * short + 0.05
