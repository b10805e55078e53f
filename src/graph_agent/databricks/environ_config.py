"""The SDK's configuration, read from a given environment. Importing this module takes seconds."""

from collections.abc import Mapping
from typing import Any

from databricks.sdk.core import Config

# At import: the SDK collects the attributes from the first class that asks, and a subclass declares none itself.
ATTRIBUTES = list(Config.attributes())


class EnvironConfig(Config):
    """A `Config` that reads the given environment and not that of the process.

    Exceptions are the credentials that read the process's variables themselves: notebooks, Model Serving, and OpenID
    Connect tokens of the machine.
    """

    def __init__(self, environ: Mapping[str, str], **given: Any) -> None:
        self._environ = environ
        super().__init__(**given)

    def _load_from_env(self) -> None:
        # The only place where the SDK reads these variables. It has no public way to pass them in.
        for one in ATTRIBUTES:
            if not one.env or one.name in self._inner:
                continue
            names = (one.env, *one.env_aliases)
            if value := next((found for name in names if (found := self._environ.get(name))), None):
                setattr(self, one.name, value)
