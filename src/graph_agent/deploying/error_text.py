"""What the person who deploys is told of errors that are not ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from graph_agent.errors import AgentError, DeployRefused
from graph_agent.redaction import redact

MOST_TOLD = 300
"""Characters of a message of the workspace, and of a line of a program."""

MOST_READ = 100_000
"""Characters at the end of a program's output that are looked at."""


def error_text(error: BaseException) -> str:
    """Our own errors by their message, the workspace's by its code and words without secrets, others by their kind."""
    from databricks.sdk.errors.base import DatabricksError

    if isinstance(error, AgentError):
        return error.message
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    if isinstance(error, DatabricksError):
        # Only its words say what to mend: which permission, which quota, which preview is off.
        words = safe_line(str(error)) or str(error.error_code or type(error).__name__)
        return f"the workspace refused: {words}{_meaning(words)}"
    return f"the workspace did not answer as it should ({type(error).__name__})"


MEANINGS = {
    "passthrough": "user authorization is switched off in this workspace: an admin can switch it on; without it take"
    " user_api_scopes out of databricks.yml",
    "scope": "workspaces differ in the names of user_api_scopes that they take; an app's page in the workspace lists"
    " them under Edit, User authorization",
}
"""What words of the workspace mean here, the first that are found."""


def _meaning(words: str) -> str:
    said = words.casefold()
    return next((f" ({meaning})" for key, meaning in MEANINGS.items() if key in said), "")


def safe_line(words: str) -> str:
    """Words of the platform on one line: without secrets, without what a terminal obeys, and not too many."""
    return redact(" ".join(_printable(words).split()))[:MOST_TOLD].rstrip(". ")


def last_lines(text: str, count: int) -> list[str]:
    """The last lines of a program's output, in the same way; empty ones left out."""
    end = text[-MOST_READ:]
    # As a whole: a key may go over several lines.
    lines = [_printable(line).rstrip()[:MOST_TOLD] for line in redact(end).splitlines()]
    return [line for line in lines if line.strip()][-count:]


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)


@contextmanager
def as_deploy_refused(what: str) -> Iterator[None]:
    """Errors while nothing is changed yet, as `DeployRefused`; `what` says what failed."""
    try:
        yield
    except AgentError:
        raise
    except Exception as error:
        raise DeployRefused(f"{what}: {error_text(error)}") from error
