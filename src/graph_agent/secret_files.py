"""Which files look like keys and tokens, by their names and their contents; such a file leaves this machine for no
workspace and no model."""

import re
from fnmatch import fnmatch

NAMES = (
    *(".env", ".env.*", ".netrc", ".databrickscfg", ".npmrc", ".pypirc", "id_rsa*", "id_ed25519*"),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*credentials*.json", "*service-account*.json"),
)
NO_SECRET_NAMES = (".env.example", ".env.template")
TEXTS = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\bdapi[0-9a-f]{32}\b|\bdose[0-9a-f]{32}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    rb"|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{40,}|\bAKIA[0-9A-Z]{16}\b"
)


def looks_secret(path: str, content: bytes) -> bool:
    """Whether a file's name, the last part of `path`, or its contents are those of keys and tokens."""
    name = path.rpartition("/")[2].lower()
    named = any(fnmatch(name, pattern) for pattern in NAMES) and name not in NO_SECRET_NAMES
    return named or TEXTS.search(content) is not None
