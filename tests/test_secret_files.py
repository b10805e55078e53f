"""Which files are taken for keys and tokens, by name and by contents, and which are not."""

import json
from pathlib import Path
from random import Random

import pytest

from graph_agent.redaction import with_hidden_values
from graph_agent.secret_files import Allowed, find_secret

ROOT = Path(__file__).parent.parent
TOKEN = "dapi" + Random("token").randbytes(16).hex()
"""Alike in each process: cases are named by it, and several processes share them."""

NAMED = """
.env .env.local .env.production prod.env config/dev.env .envrc .flaskenv secrets.toml .streamlit/secrets.toml
secrets.yaml conf/secrets.yml secret.yaml .netrc _netrc .npmrc .pypirc .git-credentials .pgpass .databrickscfg
.aws/credentials home/.aws/config .kube/config deploy/kubeconfig prod.kubeconfig .docker/config.json .dockercfg
.azure/msal_token_cache.json .config/gcloud/credentials.db application_default_credentials.json .terraformrc
terraform.tfstate infra/terraform.tfstate.backup prod.tfvars prod.auto.tfvars server.key server.p12 a.pfx a.jks
app.keystore key.ppk vault.kdbx secring.gpg my-secret-key.asc id_rsa id_ed25519 .ssh/id_ecdsa keys/deploy_ed25519
ssh_host_rsa_key google-credentials.json my-service-account.json client_secret_123.json credentials.csv credentials
AccessKeys.csv .bash_history .htpasswd .vault-token .cargo/credentials.toml wp-config.php kaggle.json client.ovpn
local.settings.json ID_RSA Secrets.YAML .ENV
"""
UNNAMED = """
app.py credentials.py secrets.py docs/secrets.md .env.example .env.template .env.sample .env.dist
secrets.toml.example prod.tfvars.example id_rsa.pub id_ed25519.pub environment.yml keys.json token.py monkey.txt
keyboard.md main.tf config.json src/config/settings.toml envrc.md tokenizer.json requirements.txt package.json
.gitignore .github/workflows/deploy.yml credentials.html aws.md README.md langgraph.json docker/Dockerfile
"""


@pytest.mark.parametrize("path", NAMED.split())
def test_a_file_is_known_by_its_name(path: str) -> None:
    assert find_secret(path, b"x") == "by its name"
    assert find_secret(f"deep/down/{path}", b"x") == "by its name"


@pytest.mark.parametrize("path", UNNAMED.split())
def test_other_names_say_nothing_and_their_contents_count(path: str) -> None:
    assert find_secret(path, b"KEY=value\n") is None
    assert find_secret(path, f"a\nKEY={TOKEN}\n".encode()) == "a Databricks token in line 2"


CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_a_certificate_is_public_and_a_key_beside_it_is_not() -> None:
    assert find_secret("ca.pem", CERTIFICATE) is None
    assert find_secret("ca.pem", CERTIFICATE + b"-----BEGIN PRIVATE KEY-----\nMIIB\n") == "by its name"
    assert find_secret("ca.pem", b"x") == "by its name"


HELD = [
    (f"token = '{TOKEN}'", "a Databricks token"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE", "a private key"),
    ("-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\n\nlQOY", "a private key"),
    ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "a private key"),
    (json.dumps({"type": "service_account", "private_key": "-----BEGIN " + "PRIVATE KEY-----\nMII"}), "a private key"),
    ("url = 'postgres://app:hunter2-5f0c@db/main'", "a password"),
    ("machine: 1\npassword=hunter2-5f0c", "a password"),
    ('client_secret: "a8f3b2c1d4e5f6a7"', "a secret"),
    ("ghp_" + "a1B2" * 9, "a GitHub token"),
    ("AKIA" + "ABCD2345" * 2, "an AWS key"),
    ("the sunflower-4711 of the environment", "known secret"),
]


@pytest.mark.parametrize(("text", "kind"), HELD)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_file_is_known_by_what_it_holds(text: str, kind: str, encoding: str) -> None:
    with with_hidden_values(["sunflower-4711"]):
        told = find_secret("notes.txt", f"first line\n{text}".encode(encoding))
    assert told is not None
    assert told.startswith(kind)
    assert " in line " in told
    assert TOKEN not in told


def test_what_an_archive_holds_by_chance_does_not_count_and_a_token_in_it_does() -> None:
    assert find_secret("a.whl", b"PK\0\0password=a8Zk3\0\0") is None
    assert find_secret("a.pickle", b"\x80\0" + TOKEN.encode() + b"\0") == "a Databricks token in line 1"


@pytest.mark.parametrize("words", ["# pragma: allowlist secret", "// gitleaks:allow"])
def test_a_line_can_say_that_it_holds_none(words: str) -> None:
    assert find_secret("a.py", f"A = '{TOKEN}'  {words}\n".encode()) is None
    assert find_secret("a.py", f"A = '{TOKEN}'  {words}\nB = '{TOKEN}'".encode()) == "a Databricks token in line 2"


def test_a_project_can_say_which_files_hold_none(tmp_path: Path) -> None:
    (tmp_path / ".secrets-allowed").write_text("# Made up for the tests.\ntests/*\n\nca/*.pem\n")
    allowed = Allowed.of(tmp_path)
    for path in ("tests/a.py", "tests/deep/.env", "ca/own.pem"):
        assert find_secret(path, TOKEN.encode(), allowed) is None
    for path in ("a.py", "src/tests/a.py", "own.pem"):
        assert find_secret(path, TOKEN.encode(), allowed) is not None
    assert not Allowed.of(tmp_path / "none").patterns
