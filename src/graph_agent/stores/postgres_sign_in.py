"""The parameters of a connection from a `postgresql://` URL."""

from collections.abc import Mapping
from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from graph_agent.errors import BadSetting

VARIABLES: Mapping[str, str] = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
}
"""The variables of libpq that fill in what the URL leaves out. They are read from the environment of the app, which is
not always that of the process."""


class UrlSignIn:
    """The sign-in of a URL: always the same parameters."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        """
        Raises:
            BadSetting: it is not a URL of PostgreSQL. The message does not repeat it, because it may hold a password.
        """
        try:
            written = conninfo_to_dict(url)
        except ProgrammingError:
            raise BadSetting(
                "GRAPH_AGENT_STORE is not a valid PostgreSQL URL: expected postgresql://USER:PASSWORD@HOST/DATABASE,"
                " with special characters of the password percent-encoded",
                param="GRAPH_AGENT_STORE",
            ) from None
        given = {name: environ[key] for key, name in VARIABLES.items() if environ.get(key)}
        self._parameters: Mapping[str, Any] = given | written

    async def parameters(self) -> Mapping[str, Any]:
        """The parameters by libpq's names."""
        return self._parameters

    def refused(self) -> None:
        """Nothing changes: the URL has the only password there is."""
