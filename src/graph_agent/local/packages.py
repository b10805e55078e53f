"""The packages of the extra `local`, without which there is no local workspace."""

from importlib.util import find_spec

from graph_agent.errors import LocalWorkspaceError

PACKAGES = (
    "lxml",
    "markdown_it",
    "numpy",
    "onnxruntime",
    "pip",
    "pypdf",
    "rich",
    "tokenizers",
    "trafilatura",
    "xllamacpp",
)
"""What each is imported as. A test compares them with the extra."""

INSTALL = "pip install 'graph-agent[local]'"


def missing_packages() -> list[str]:
    """Those that are not installed. Nothing is imported."""
    return [name for name in PACKAGES if find_spec(name) is None]


def demand_packages() -> None:
    """Check that all are there.

    Raises:
        LocalWorkspaceError: some are not; the message has the command that installs them.
    """
    if missing := missing_packages():
        raise LocalWorkspaceError(f"the local workspace needs {', '.join(missing)}; install them: {INSTALL}")
