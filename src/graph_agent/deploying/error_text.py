"""Texts for the deployer about errors of the workspace and of other programs."""

from collections.abc import Iterator
from contextlib import contextmanager

from graph_agent.errors import AgentError, DeployRefused
from graph_agent.redaction import redact

MOST_SHOWN = 300
"""Characters of a workspace's message, and of a line of a program's output, that are shown."""

MOST_READ = 100_000
"""Characters at the end of a program's output that are read."""


def error_text(error: BaseException) -> str:
    """A text for the error: our own message, the workspace's message without secrets, or the type of any other."""
    from databricks.sdk.errors.base import DatabricksError

    if isinstance(error, AgentError):
        return error.message
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    if isinstance(error, DatabricksError):
        # Only its message says what to fix: which permission or quota is missing, or which preview is off. The
        # message is for the deployer, who signed in to that workspace, and never reaches users of the app.
        words = safe_line(str(error)) or str(error.error_code or type(error).__name__)
        return f"the workspace refused: {words}{_meaning(words)}"
    return f"the workspace did not answer as expected ({type(error).__name__})"


MEANINGS = {
    "passthrough": "user authorization is off in this workspace; ask an admin to turn it on, or remove user_api_scopes"
    " from databricks.yml",
    "scope": "workspaces accept different names in user_api_scopes; an app's page in the workspace lists them under"
    " Edit, User authorization",
}
"""Explanations for words in a workspace's message. The first match is used."""


def _meaning(words: str) -> str:
    lowered = words.casefold()
    return next((f" ({meaning})" for key, meaning in MEANINGS.items() if key in lowered), "")


def safe_line(words: str) -> str:
    """A message of the platform on one line: shortened, and without secrets and control characters."""
    # Without the final period, because our own words may follow.
    return redact(" ".join(_printable(words).split()))[:MOST_SHOWN].rstrip(". ")


def last_lines(text: str, count: int) -> list[str]:
    """The last lines of a program's output, made safe in the same way. Empty lines are left out."""
    end = text[-MOST_READ:]
    # Redact the whole text before splitting it: a private key spans several lines.
    lines = [_printable(line).rstrip()[:MOST_SHOWN] for line in redact(end).splitlines()]
    return [line for line in lines if line.strip()][-count:]


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


@contextmanager
def as_deploy_refused(what: str) -> Iterator[None]:
    """Turn errors into `DeployRefused`, for steps before anything is changed. `what` says what failed."""
    try:
        yield
    except AgentError:
        raise
    except Exception as error:
        raise DeployRefused(f"{what}: {error_text(error)}") from error
