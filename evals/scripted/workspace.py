"""The scripted workspace on a free port: the local workspace's own routes over the project's documentation."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from evals.scripted.embedder import HashingEmbedder
from evals.scripted.model import ScriptedModel
from evals.serving import serving
from graph_agent.settings import Settings


@contextmanager
def scripted_workspace(root: Path, settings: Settings) -> Iterator[Mapping[str, str]]:
    """The environment by which clients find it, while it runs. `root` is the folder whose documentation it indexes."""
    # As for the local workspace: its packages are an extra that the service does without.
    from graph_agent.local.access import Credentials
    from graph_agent.local.index import Index
    from graph_agent.local.preparation import DOCUMENTATION
    from graph_agent.local.workspace import create_workspace

    credentials, embedder = Credentials.generate(), HashingEmbedder()
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.open(Path(folder) / "index.sqlite", embedder) as index,
    ):
        index.sync([root / name for name in DOCUMENTATION if (root / name).exists()])
        app = create_workspace(ScriptedModel(), {settings.index: index}, embedder=embedder, credentials=credentials)
        with serving(app) as url:
            yield {
                "DATABRICKS_HOST": url,
                "DATABRICKS_CLIENT_ID": credentials.client_id,
                "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
                "DATABRICKS_CONFIG_FILE": os.devnull,
            }
