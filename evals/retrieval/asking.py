"""Asks the flagship's retriever over the local workspace: the same node, client and routes as in a run."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import Runnable

from graph_agent.app_context import AppContext
from graph_agent.contract import Source
from graph_agent.local.index.embedder import Embedder
from graph_agent.local.index.index import Index
from graph_agent.local.rest.access import Credentials
from graph_agent.local.rest.workspace import create_workspace
from graph_agent.settings import Settings
from graph_agent.testing import on_loopback

from .rows import Row, document_of


class NoModel:
    """A chat model that is never asked."""

    async def stream_chat(self, body: Any) -> Any:
        raise AssertionError("the evaluation of retrieval asks no model")
        yield


@contextmanager
def workspace(index: Index, embedder: Embedder) -> Iterator[AppContext]:
    """Serve the index under the name that graphs search by default, and yield an app that finds it."""
    credentials = Credentials.generate()
    settings = Settings()
    with on_loopback(
        create_workspace(NoModel(), {settings.index: index}, embedder=embedder, credentials=credentials)
    ) as url:
        yield AppContext(
            settings,
            {
                "DATABRICKS_HOST": url,
                "DATABRICKS_CLIENT_ID": credentials.client_id,
                "DATABRICKS_CLIENT_SECRET": credentials.client_secret,
                "DATABRICKS_CONFIG_FILE": os.devnull,
            },
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What the retriever gave for a row."""

    row: Row
    sources: Sequence[Source]

    def rank(self, names: Sequence[str]) -> int | None:
        """The place of the first passage of one of these documents, from 1."""
        return next(
            (place for place, one in enumerate(self.sources, start=1) if document_of(one.doc_uri) in names), None
        )

    @property
    def complete(self) -> bool:
        """Whether every document that must be found was found."""
        return all(self.rank(names) for names in self.row.documents)

    @property
    def reciprocal_rank(self) -> float:
        """Of the first passage of any of the documents."""
        places = [place for names in self.row.documents if (place := self.rank(names))]
        return 1 / min(places) if places else 0.0

    @property
    def different(self) -> int:
        """How many of the passages differ."""
        return len({" ".join(one.text.split()) for one in self.sources})


async def ask(retrieve: Runnable[Any, Any], row: Row, tool: str) -> Found:
    """What the model would see for a row whose planner searches with `row.query`."""
    messages: list[AnyMessage] = []
    for number, question in enumerate(row.earlier):
        messages += [HumanMessage(question, id=f"q{number}"), AIMessage("Yes.", id=f"a{number}")]
    call = {"name": tool, "args": {"query": row.query}, "id": "call_1", "type": "tool_call"}
    messages += [HumanMessage(row.question, id="q"), AIMessage("", tool_calls=[call], id="a")]
    update = await retrieve.ainvoke({"messages": messages})
    return Found(row, update["sources"])
