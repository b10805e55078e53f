"""The packages of the extra `local`, which the local workspace needs."""

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
"""Their import names. A test compares them with the extra in `pyproject.toml`."""

INSTALL = "pip install 'FOLDER[local]', where FOLDER is a checkout or the file of a wheel of graph-agent"
"""What installs them. No package index has graph-agent before its first release."""


def missing_packages() -> list[str]:
    """The packages that are not installed. Imports nothing, because some of them take seconds to import."""
    return [name for name in PACKAGES if find_spec(name) is None]


def knows_other_languages() -> bool:
    """Whether the package that the embedding model for other languages needs is installed. It has no wheels for the
    newest Pythons."""
    return find_spec("onnxruntime_extensions") is not None


def demand_packages() -> None:
    """Check that all packages are installed.

    Raises:
        LocalWorkspaceError: some are not. The message has the command that installs them.
    """
    if missing := missing_packages():
        raise LocalWorkspaceError(f"the local workspace needs {', '.join(missing)}; install them: {INSTALL}")
