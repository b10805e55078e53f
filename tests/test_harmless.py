"""What documentation and code say of secrets without telling one stays; what is one goes, whoever issued it."""

import json
import string
from random import Random

import pytest

from graph_agent.redaction import Redactor, redact, redact_value

LETTERS = string.ascii_letters + string.digits

DRAWN = Random("keys")
"""Alike in each process: the cases are named by what they hold, and several processes share them."""


def drawn(length: int, alphabet: str = LETTERS) -> str:
    return "".join(DRAWN.choice(alphabet) for _ in range(length - 2)) + "q7"


def hexes(length: int) -> str:
    return DRAWN.randbytes(length // 2).hex()


HARMLESS = [
    # Names that begin like keys.
    "pip install sk-learn-contrib-extensions-2024",
    "the sk-learn-2024-compatible-estimators package",
    "from hf_transformers_4_40_compat_layer import x",
    "hf_hub_download_with_progress_bar",
    "sk-toggleable__label-arrow of scikit-learn's HTML",
    "a sk-estimator-doc-link-2 element",
    "npm_config_registry_mirror_address and npm_package_version_of_tool",
    "pypi-publish-action-for-releases v1",
    # Pages of lists, and tokenizers.
    "next_page_token: CAUQAA1b2c3d4e5f6g",
    '"nextPageToken": "CAUQAA1b2c3d4e5f6g"',
    "NextContinuationToken=1ueGcxLPRx1Tr4XmJ9qfPz2",
    '{"continuation_token": "MTAwMDAwMDAwMDAw4f3a"}',
    "page_token=eNqrVkrLz1eyUkpKLFKqBQA1",
    "pad_token: '<|endoftext_100257|>'",
    'eos_token="im_end_id_151645"',
    "?skipToken=a8f3b2c1d4e5f6a7",
    "&nextToken=AAMA1b2c3d4e5f6g7h8i",
    # Placeholders.
    "password=your_password_here",
    "password=YOUR_PASSWORD",
    "PASSWORD=changeme",
    "password=<your-password>",
    "password=${DB_PASSWORD}",
    "password=$DB_PASSWORD",
    "password=%DB_PASSWORD%",
    "password={{ db_password }}",
    "password=xxxx",
    "password=xxxxxxxx",
    "password=********",
    "password=••••••••",
    "password=........",
    "password=[your password]",
    "password=example_password",
    "password=my-secret-password",
    "PWD=placeholder",
    "Authorization: Bearer YOUR_ACCESS_TOKEN",
    "Authorization: Bearer YOUR_TOKEN_123",
    "Authorization: Bearer <token>",
    "Authorization: Bearer ${TOKEN}",
    "Authorization: Bearer $ACCESS_TOKEN",
    "Authorization: Bearer {access_token}",
    "Authorization: Bearer your-access-token-goes-here",
    "Authorization: Bearer xxxxxxxxxxxxxxxxxxxx",
    "Authorization: Bearer ****************",
    "Authorization: Bearer ACCESS_TOKEN",
    "Authorization: Basic <credentials>",
    "Bearer YOUR_ACCESS_TOKEN",
    "Bearer token authentication-2024 is needed",
    'api_key="YOUR_API_KEY"',
    'api_key = "your-api-key-here"',
    "api_key='sk-...'",
    'OPENAI_API_KEY="sk-your-key-here"',
    "OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "OPENAI_API_KEY=sk-proj-xxxxxxxxxxxxxxxxxxxxxxxx",
    'api_key=os.environ["OPENAI_API_KEY"]',
    'api_key=os.getenv("OPENAI_API_KEY")',
    "apiKey: process.env.OPENAI_API_KEY",
    "api_key: str | None = None",
    '"api_key": "string"',
    '"password": "string"',
    '"client_secret": "<CLIENT_SECRET>"',
    '"clientSecret": "your-client-secret"',
    'secret_key: "insert_your_secret_key"',
    "token: ${{ secrets.GITHUB_TOKEN }}",
    'access_token: "{{ access_token }}"',
    "DATABRICKS_TOKEN=dapiXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX",
    "a token such as dapi…",
    "GITHUB_TOKEN=ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "aws_access_key_id = AKIAIOSFODNN7EXAMPLE",
    "AKIAXXXXXXXXXXXXXXXX",
    "postgres://user:password@localhost:5432/db",
    "postgresql://<user>:<password>@host/db",
    "mysql://user:your_password@host/db",
    "mongodb://username:xxxxx@host/db",
    "https://user:pass@example.com",
    "amqp://user:****@host",
    '"azure-client-secret": "Microsoft Entra ID"',
    'the key "api_key": "Where to find your key"',
    # Words about them.
    "max_tokens=4096, token_count: 128000, tokens_per_second=51.5",
    "token_type: bearer, expires_in=3600",
    "secret_name: production-database-2024",
    "The password: at least 12 characters, one of them a digit.",
    "password_policy=strict-2024-edition",
    "private key: see docs/keys.md",
    "api_key_env_var=OPENAI_API_KEY",
    'tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased-finetuned-2024")',
    "credential: service-account",
    "Set-Cookie: theme=dark",
    "secretKeyRef: {name: db-credentials-v2, key: password}",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 898b5f2c0d1e2f3a4b5c6d7e8f90a1b2c3d4e5f6",
    "id: 550e8400-e29b-41d4-a716-446655440000",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGx public",
    "https://example.com/reset?page=2&sort=name",
]

SECRETS = [
    (f"OPENAI_API_KEY=sk-{drawn(48)}", "sk-"),
    (f"key sk-proj-{drawn(60)}_{drawn(30)}-{drawn(20)}", "sk-proj-"),
    (f"key sk-ant-api03-{drawn(60)}-{drawn(30)}", "sk-ant"),
    (f"key sk-or-v1-{hexes(64)}", "sk-or"),
    (f"key sk-{hexes(32)}", "sk-"),
    (f"key sk_live_{drawn(24)}", "sk_live"),
    (f"key hf_{drawn(34, string.ascii_letters)}", "hf_"),
    (f"key hf_{'qwertyuiopasdfghjklzxcvbnmqwertyui'}", "hf_"),
    (f"key gsk_{drawn(52)}", "gsk_"),
    (f"key xai-{drawn(80)}", "xai-"),
    (f"key pplx-{drawn(48)}", "pplx-"),
    (f"key r8_{drawn(37)}", "r8_"),
    (f"key npm_{drawn(36)}", "npm_"),
    (f"key pypi-AgEIcHlwaS5vcmc{drawn(70)}", "pypi-"),
    (f"key dop_v1_{hexes(64)}", "dop_v1_"),
    (f"key SG.{drawn(22)}.{drawn(43)}", "SG."),
    (f"key shpat_{hexes(32)}", "shpat_"),
    (f"key lin_api_{drawn(40)}", "lin_api_"),
    (f"key ntn_{drawn(46)}", "ntn_"),
    (f"key glsa_{drawn(32)}_{hexes(8)}", "glsa_"),
    (f"key lsv2_pt_{hexes(32)}_{hexes(10)}", "lsv2_"),
    (f"key tvly-{drawn(32)}", "tvly-"),
    (f"key nvapi-{drawn(64)}", "nvapi-"),
    (f"key hvs.{drawn(90)}", "hvs."),
    (f"key PMAK-{hexes(24)}-{hexes(34)}", "PMAK-"),
    (f"key AGE-SECRET-KEY-1{drawn(58, string.ascii_uppercase + string.digits).upper()}", "AGE-"),
    (f"key glrt-{drawn(20)}", "glrt-"),
    (f"key LTAI{drawn(20)}", "LTAI"),
    (f"bot 8401593627:AA{drawn(33)}", ":AA"),
    (f"https://hooks.slack.com/services/T{drawn(9).upper()}/B{drawn(9).upper()}/{drawn(24)}", "hooks"),
    (f"DATABRICKS_TOKEN=dapi{hexes(32)}", "dapi"),
    (f"see ghp_{drawn(36)}", "ghp_"),
    (f"AKIA{drawn(16, string.ascii_uppercase + '234567').upper()}", "AKIA"),
    ("password=hunter2", "hunter2"),
    ("password=letmein99", "letmein99"),
    ("password=correct-horse-battery", "correct-horse-battery"),
    ("password=Tr0ub4dor&3", "Tr0ub4dor"),
    ("PGPASSWORD=s3cr3tpw psql", "s3cr3tpw"),
    ("DB_PASSWORD=swordfishes", "swordfishes"),
    ("password=yourself99", "yourself99"),
    ("password=mypony2019!x", "mypony2019"),
    ("postgres://app:hunter2@db/main", "hunter2"),
    ("redis://:p4ssw0rdd@cache:6379", "p4ssw0rdd"),
    (f"Authorization: Bearer {drawn(20)}", "Bearer "),
    ("Authorization: Basic dXNlcjpodW50ZXIyCg==", "dXNlcjpodW50ZXIyCg"),
    (f'api_key="{drawn(20)}"', '="'),
    ('"api_key": "swordfish-of-mine"', "swordfish"),
    (f'"accessToken": "{drawn(40)}"', ': "'),
    (f'"refresh_token": "{drawn(40)}"', ': "'),
    (f"X-Api-Key: {drawn(32)}", ": "),
    (f"csrf_token={drawn(32)}", "="),
    (f"AWS_SECRET_ACCESS_KEY={drawn(40)}", "="),
    (f"?token={drawn(30)}", "="),
    (f"--token {drawn(4)} --token={drawn(30)}", "--token="),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + "\n".join(drawn(64) for _ in range(5)), "-----"),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\n" + "\n".join(drawn(70) for _ in range(5)), "-----"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_tells_no_secret_stays(text: str) -> None:
    assert redact(text) == text
    quoted = f"Docs say:\n    {text}\nand so on."
    assert redact(quoted) == quoted
    redactor = Redactor()
    assert "".join(map(redactor.feed, quoted)) + redactor.flush() == quoted


@pytest.mark.parametrize(("text", "near"), SECRETS, ids=[text[:24] for text, _ in SECRETS])
def test_what_is_a_secret_goes(text: str, near: str) -> None:
    start = text.rindex(near) + (len(near) if near[-1] in "= \"'" else 0)
    core = text[start:].split("@")[0].split("\n")[-1][-12:].rstrip('"= ')
    for shown in (redact(text), redact(json.dumps({"a": text})), redact_value({"a": [text]})["a"][0]):
        assert core not in shown
        assert "[redacted " in shown
    redactor = Redactor()
    assert core not in "".join(map(redactor.feed, text)) + redactor.flush()


@pytest.mark.parametrize(("text", "near"), SECRETS, ids=[text[:24] for text, _ in SECRETS])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_one_streamed_secret_is_one_marker(text: str, near: str, size: int) -> None:
    redactor = Redactor()
    shown = "".join(redactor.feed(text[at : at + size]) for at in range(0, len(text), size)) + redactor.flush()
    assert shown.count("[redacted ") == redact(text).count("[redacted ")


LONG = drawn(40_000)


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize(
    "text", ["ghp_{}", "password={}", "sk-proj-{}", "&sig={}", "Authorization: Bearer {}", '"api_key": "{}"', "{pem}"]
)
def test_a_secret_longer_than_what_is_held_back_is_one_marker_and_no_part_of_it_shows(text: str, size: int) -> None:
    begin, end = "-----BEGIN PRIVATE KEY-----\n", "\n-----END PRIVATE KEY-----"
    pem = begin + "\n".join(LONG[at : at + 64] for at in range(0, len(LONG), 64)) + end
    text = text.format(LONG, pem=pem) + "! And on."
    redactor = Redactor()
    shown = "".join(redactor.feed(text[at : at + size]) for at in range(0, len(text), size)) + redactor.flush()
    assert shown.count("[redacted ") == 1
    assert len(shown) < 120
    assert "And on." in shown
