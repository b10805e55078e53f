"""The SDK's configuration read from a given environment. Imports the SDK: seconds."""

from collections.abc import Mapping
from typing import Any

from databricks.sdk.core import Config

# Now: the SDK collects them from the class that is asked first, and a subclass has none of its own.
ATTRIBUTES = list(Config.attributes())


class EnvironConfig(Config):
    """`Config` that takes nothing from the process's environment but what credentials of the machine need.

    Those are the kinds that read their variables themselves: notebooks, Model Serving, and tokens of OpenID Connect
    that the environment holds.
    """

    def __init__(self, environ: Mapping[str, str], **given: Any) -> None:
        self._environ = environ
        super().__init__(**given)

    def _load_from_env(self) -> None:
        # The one place where the SDK reads these variables; it has no public way to be given them.
        for one in ATTRIBUTES:
            if not one.env or one.name in self._inner:
                continue
            names = (one.env, *one.env_aliases)
            if value := next((found for name in names if (found := self._environ.get(name))), None):
                setattr(self, one.name, value)
