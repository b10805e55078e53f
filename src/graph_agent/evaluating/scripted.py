"""A project's scripted model behind the local workspace's own routes, on a free port, over the project's documents."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.evaluating.errors import BadProjectFile, EvalError
from graph_agent.evaluating.hashing_embedder import HashingEmbedder
from graph_agent.evaluating.loopback import serving
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.project_files import imported
from graph_agent.settings import Settings

if TYPE_CHECKING:
    from graph_agent.local.rest.chat_routes import ChatBackend


@contextmanager
def scripted_workspace(project: Project, settings: Settings) -> Iterator[Mapping[str, str]]:
    """The environment by which Databricks clients find the workspace, while it runs.

    Raises:
        EvalError: the project has no scripted model, or its file does not load.
    """
    model = scripted_model(project)
    # The packages of the local workspace are an extra that the service does without.
    from graph_agent.local.index.index import Index
    from graph_agent.local.preparation import project_documents
    from graph_agent.local.rest.access import Credentials
    from graph_agent.local.rest.workspace import create_workspace

    credentials, embedder = Credentials.generate(), HashingEmbedder()
    with (
        tempfile.TemporaryDirectory() as folder,
        Index.open(Path(folder) / "index.sqlite", embedder) as index,
    ):
        index.sync(project_documents(project.root))
        app = create_workspace(model, {settings.index: index}, embedder=embedder, credentials=credentials)
        with serving(app) as url:
            yield {
                "DATABRICKS_HOST": url,
                "DATABRICKS_CLIENT_ID": credentials.client_id,
                "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
                "DATABRICKS_CONFIG_FILE": os.devnull,
            }


def scripted_model(project: Project) -> "ChatBackend":
    """The `model` of the project's `evals/scripted.py`. Its `stream_chat` answers chat completions requests.

    Raises:
        EvalError: there is no such file.
        BadProjectFile: it does not load, or has no such `model`.
    """
    path = project.script
    if path is None:
        raise EvalError(
            "this project has no scripted model; write evals/scripted.py with a variable `model`, or choose a model"
            " with --model"
        )
    model: Any = getattr(imported(path, root=project.root), "model", None)
    if not callable(getattr(model, "stream_chat", None)):
        raise BadProjectFile(f"{path} needs a variable `model`, an object with a method `stream_chat`")
    backend: ChatBackend = model
    return backend
