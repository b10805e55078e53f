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
    # A few plain searches and one for the end of a name take a tenth of the time of the pattern.
    lower = json_text.lower()
    if not lower.isascii():
        # The pattern, which ignores case, takes these for an s and an i.
        lower = lower.replace("\u017f", "s").replace("\u0131", "i")
    if not any(map(lower.__contains__, _STEMS)) or _AT_END.search(lower) is None:
        return False
    return _IN_JSON.search(json_text) is not None or any(word in json_text for word in _HUMPED)


def may_tell(name: str) -> bool:
    """Return whether a name may say anything about the text under it: that it is a secret, or an image or a file.

    It is also true for many names that say nothing.
    """
    lower = name.lower()
    return not (lower.isascii() and lower.isidentifier()) or any(map(lower.__contains__, (*_STEMS, *_OTHERS)))


_STEMS = ("pass", "pwd", "secret", "key", "token", "authorization", "cookie", "credential", "connection", "sas")
"""Each sensitive name has one of these in it."""

_AT_END = re.compile(
    r'(?:word|wd|phrase|code|secret|key|token|authorization|cookies?|credentials?|string|url)\\{0,63}"'
)
"""The end of each sensitive name, and that of the JSON string it is, in as many levels of JSON as a text may have."""

_HUMPED = ("Password", "Secret", "Token", "Key", "Credential", "Passphrase")
"""Last words of sensitive names in camel case. `_IN_JSON` does not find these, because no separator precedes them."""

_OTHERS = ("cred", "sig", "auth", "bearer", "basic", "url", "uri", "file", "image", "data")
"""Words in other names that something depends on, besides the names of secrets."""
