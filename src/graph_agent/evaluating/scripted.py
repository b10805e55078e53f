"""Serves a project's scripted model behind the routes of the local workspace, over the project's documents."""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graph_agent.evaluating.errors import BadProjectFile, EvalError
from graph_agent.evaluating.hashing_embedder import HashingEmbedder
from graph_agent.evaluating.project import Project
from graph_agent.evaluating.project_files import import_file
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback
from graph_agent.testing.completions import scripted_chunks
from graph_agent.testing.script import Script

if TYPE_CHECKING:
    from graph_agent.local.rest.chat_routes import ChatBackend


@contextmanager
def scripted_workspace(project: Project, settings: Settings) -> Iterator[Mapping[str, str]]:
    """Serve the workspace on a free port. Yield the variables with which Databricks clients find it.

    Raises:
        EvalError: the project has no scripted model, or its file does not load.
    """
    model = scripted_model(project)
    # Imported here because the packages of the local workspace are an optional extra.
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
        with on_loopback(app) as url:
            yield {
                "DATABRICKS_HOST": url,
                "DATABRICKS_CLIENT_ID": credentials.client_id,
                "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
                "DATABRICKS_CONFIG_FILE": os.devnull,
            }


def scripted_model(project: Project) -> "ChatBackend":
    """Return the `model` of the project's `evals/scripted.py` as a chat backend.

    `model` is a function or an object. A function gets the body of a chat completions request and returns a reply in
    the terms of `graph_agent.testing`: a text, a `Call`, or a list of these. An object has a method `stream_chat` that
    yields the chunks of a chat completion.

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
    model: Any = getattr(import_file(path, root=project.root), "model", None)
    if callable(getattr(model, "stream_chat", None)):
        backend: ChatBackend = model
        return backend
    # A class is callable too, but here it is a model that someone forgot to instantiate.
    if callable(model) and not isinstance(model, type):
        return ScriptedReplies(model)
    raise BadProjectFile(
        f"{path} needs a variable `model`: a function that returns a reply, or an object with a method `stream_chat`"
    )


class ScriptedReplies:
    """A chat backend. A function computes each reply from the body of the request."""

    def __init__(self, function: Callable[[Mapping[str, Any]], Any]) -> None:
        self._script = Script([function])

    async def stream_chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """See `ChatBackend`."""
        async for chunk in scripted_chunks(self._script, body):
            yield chunk
            # One write for each chunk, as over a real network.
            await asyncio.sleep(0)
