"""Names whose value is a secret whatever it looks like: `password`, `clientSecret`, `X-Api-Key`."""

import re
from functools import lru_cache

LONGEST = 128
"""Characters of a name that are checked. Of a longer name, only the last ones are."""

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SENSITIVE = (
    r"(?:pass_?word|passwd|passphrase|pass_?code|pwd|secret|client_?secret|shared_?secret|signing_?secret|api_?key"
    r"|api_?secret|secret_?(?:access_?)?key|(?:access|refresh|auth|bearer|session|id|security|sas|personal_?access"
    r"|oauth|user|app|bot|csrf|xsrf|api)_?token|account_?key|private_?key|signing_?key|encryption_?key|master_?key"
    r"|authorization|cookies?|credentials?|connection_?string|sas_?url)"
)
_NAME = re.compile(rf"(?:^|[_.\s-]){SENSITIVE}\Z")
_IN_JSON = re.compile(rf'(?i)["_.\s-]{SENSITIVE.replace("_?", "[_-]?")}\\{{0,7}}"')


@lru_cache(maxsize=1024)
def is_sensitive(name: str) -> bool:
    """Return whether a text under this name is replaced as a whole."""
    # Headers, environment variables and camel case become one form, so that one pattern covers all of them.
    words = _HUMP.sub("_", name[-LONGEST:]).lower().replace("-", "_")
    return _NAME.search(words) is not None


def has_sensitive(json_text: str) -> bool:
    """Return whether a JSON text may have such a name. It may also be true for a text that only mentions one.

    This is a cheap check before parsing. `is_sensitive` decides for each name.
    """
    # Ten plain searches take a tenth of the time of the pattern. Other letters than ASCII may match it in another case.
    if json_text.isascii() and not any(map(json_text.lower().__contains__, _STEMS)):
        return False
    return _IN_JSON.search(json_text) is not None or any(word in json_text for word in _HUMPED)


_STEMS = ("pass", "pwd", "secret", "key", "token", "authorization", "cookie", "credential", "connection", "sas")
"""Each sensitive name has one of these in it."""

_HUMPED = ("Password", "Secret", "Token", "Key", "Credential", "Passphrase")
"""Last words of sensitive names in camel case. `_IN_JSON` does not find these, because no separator precedes them."""
