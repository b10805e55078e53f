"""Finds files that look like keys or tokens, by name and content. Such files are never uploaded or put into a model.

The content is searched for what redaction knows. Names are compared in lower case: a pattern without a slash with the
file's name, a pattern with a slash with the end of the path. Sources: widely used ignore lists and secret scanners.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from graph_agent.redaction import current_hidden_values
from graph_agent.redaction.text import found

ALLOWING = ".secrets-allowed"
"""The file in the project's folder that lists false alarms, one path pattern on each line."""

ALLOWED_LINES = ("pragma: allowlist secret", "gitleaks:allow")
"""Comments that mark a line as a false alarm, as in the scanners detect-secrets and gitleaks."""

_NAMES = """
    .env .env.* *.env .envrc *.envrc .flaskenv secrets.toml secrets.yaml secrets.yml secrets.json secrets.ini
    secrets.properties secret.yaml secret.yml secret.json secret.toml *.secrets *.secret local.settings.json
    wp-config.php .htpasswd htpasswd

    .netrc _netrc .databrickscfg .npmrc .pypirc .git-credentials .gitcredentials .pgpass pgpass.conf .my.cnf
    .mylogin.cnf .mongorc.js .boto .s3cfg .dockercfg .dockerconfigjson .docker/*.json docker/config.json .aws/*
    aws/credentials .kube/* kube/config kubeconfig *.kubeconfig kubeconfig.* .azure/* gcloud/* .oci/config
    application_default_credentials.json gh/hosts.yml .cargo/credentials* .gem/credentials .m2/settings.xml
    .snowflake/* .snowsql/* .databricks/token-cache.json .huggingface/token .vault-token .vault_pass* vault_pass*
    .composer/auth.json .remote-sync.json filezilla.xml sitemanager.xml *.ovpn kaggle.json rclone.conf

    *.tfstate *.tfstate.* *.tfvars *.tfvars.json .terraformrc terraform.rc credentials.tfrc.json

    *.pem *.key *.p8 *.p12 *.pfx *.pkcs12 *.jks *.jceks *.keystore *.bks *.ppk *.kdb *.kdbx *.agekey *.pgp secring.*
    *secret*.asc *private*.asc *private*.gpg id_rsa* id_dsa* id_ecdsa* id_ed25519* *_rsa *_dsa *_ecdsa *_ed25519
    ssh_host_*_key

    *credentials*.json *credentials*.csv credentials credentials.* client_secret*.json *service-account*.json
    *service_account*.json *serviceaccount*.json *accesskeys.csv

    .bash_history .zsh_history .psql_history .mysql_history .python_history .sqlite_history
"""
NAMES = tuple(_NAMES.split())
"""In this order: environment files; credentials of programs; Terraform; keys and key stores; accounts; histories."""

EXAMPLES = ("*.example", "*.sample", "*.template", "*.dist", "*.example.*", "*.sample.*", "*.template.*", "*.pub")
"""Files with such names that are meant to be shared. Their content is still searched."""

CODE = ("*.py", "*.pyi", "*.md", "*.rst", "*.html", "*.tf", "*.ipynb")
"""Files in which a name such as `credentials.py` describes the code. Their content is still searched."""

PUBLIC_ARMOUR = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN PUBLIC KEY-----", b"-----BEGIN RSA PUBLIC KEY-----")

_PRIVATE_KEY = re.compile("-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

ONLY_IN_TEXT = frozenset({"password", "secret", "token", "signature"})
"""Kinds that are recognized by a short word before the value. Images and archives contain such words by chance."""

LEAST_IN_TEXT = 8
"""The shortest value of these kinds that counts, in characters. Code and its examples are full of shorter ones."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The false alarms of one project."""

    patterns: Sequence[str] = ()

    @classmethod
    def of(cls, folder: Path) -> "Allowed":
        """Read the folder's `.secrets-allowed`, if there is one."""
        path = folder / ALLOWING
        # No link: it could make a file outside of the project decide what is uploaded.
        if not path.is_file() or path.is_symlink():
            return cls()
        lines = (line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
        return cls([line for line in lines if line and not line.startswith("#")])

    def __contains__(self, path: str) -> bool:
        return any(fnmatchcase(path, pattern) for pattern in self.patterns)


def find_secret(path: str, content: bytes, allowed: Allowed | None = None) -> str | None:
    """Say in words which secret the file holds, or return `None`. `path` is relative, with `/`."""
    # The project's list wins over everything else: its author has looked at the file.
    if allowed is not None and path in allowed:
        return None
    if _is_named(path.lower()) and not _is_public(content):
        return "by its name"
    return next((f"{kind} in line {line}" for line, kind in _secrets_in(content)), None)


def describe_secrets(secrets: Iterable[tuple[str, str]]) -> str:
    """A text that lists the paths and the secret in each."""
    return ", ".join(f"{path} ({what})" for path, what in secrets)


def _is_named(path: str) -> bool:
    name = path.rpartition("/")[2]
    if any(fnmatchcase(name, pattern) for pattern in (*EXAMPLES, *CODE)):
        return False
    return any(fnmatchcase(f"/{path}" if "/" in one else name, f"*/{one}" if "/" in one else one) for one in NAMES)


def _is_public(content: bytes) -> bool:
    """Whether it is a certificate or a public key. Their files have the same names as private keys."""
    return b"PRIVATE" not in content and any(armour in content for armour in PUBLIC_ARMOUR)


def _secrets_in(content: bytes) -> Iterable[tuple[int, str]]:
    text = _text_of(content)
    binary = "\0" in text
    # Redaction ignores the first line of a key without the rest, as in a text about keys. In a file it is a key.
    keys = ((match.start(), "private key") for match in _PRIVATE_KEY.finditer(text))
    secrets = (
        (start, kind)
        for start, end, marker in found(text, current_hidden_values())
        if (kind := marker[len("[redacted ") : -1]) not in ONLY_IN_TEXT or end - start >= LEAST_IN_TEXT
    )
    for start, kind in (*keys, *secrets):
        first, last = text.rfind("\n", 0, start) + 1, text.find("\n", start)
        line = text[first : last if last >= 0 else len(text)]
        if (binary and kind in ONLY_IN_TEXT) or any(words in line for words in ALLOWED_LINES):
            continue
        yield text.count("\n", 0, start) + 1, kind if kind.startswith("known") else f"{_article(kind)} {kind}"


def _article(kind: str) -> str:
    return "an" if kind[0] in "aeiouA" else "a"


def _text_of(content: bytes) -> str:
    """Decode each byte as one character, except in UTF-16, where each ASCII letter has a zero byte."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    return content.decode("latin-1")
