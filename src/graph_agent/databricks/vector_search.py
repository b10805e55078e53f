"""Documents from Vector Search: an index as the planner's tool, searched as the app or as the calling user."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from langchain_core.tools import ToolException

from graph_agent.app_context import PerApp, current_settings
from graph_agent.copies import distinct, with_places
from graph_agent.databricks.app_search import AppSearch
from graph_agent.databricks.clients import Actor, actor, workspace_client
from graph_agent.databricks.embeddings import embed_query
from graph_agent.databricks.filters import FilterRules
from graph_agent.databricks.index_errors import Service, search_error, status_of
from graph_agent.databricks.index_query import MOST_ASKED, OVER_ASKED, Filters, Found, IndexQuery
from graph_agent.databricks.search_threads import SearchThreads
from graph_agent.databricks.token_search import prepare, search_with_token
from graph_agent.errors import AgentError, RetrievalFailed
from graph_agent.identity.user_token import user_token


@dataclass(frozen=True, kw_only=True)
class DocumentSearch(IndexQuery):
    """A Vector Search index as the planner's tool. Makes no call until the first search.

    As the app it uses the search of `VectorSearchRetrieverTool` in at most eight threads. The first searches are the
    SDK's, until the tool is built in another thread. For a user each search is one request with that user's token.
    """

    name: str = "search_docs"
    description: str = "Search the documents. Returns the passages that fit the query best."
    example: str = "how to install it"
    """A query as a model should write it. Small models need an example."""

    filters: Filters = field(default_factory=dict)
    """Apply to every search; a model cannot widen them. A mapping, or text for a storage-optimized endpoint."""

    filterable: Mapping[str, type] = field(default_factory=dict)
    """Columns the model may filter by, and the type of their values: `str`, `int`, `float` or `bool`."""

    storage_optimized: bool = False
    """Whether the endpoint is storage-optimized. Such an endpoint accepts filters as text."""

    acting_as: Actor | None = None
    """`"app"` or `"user"`; `None` takes `GRAPH_AGENT_AUTHORIZATION`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Now and not in the first search, as a fixed filter that cannot be sent is the author's mistake.
        self._rules.combined(None)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool's definition for a chat model."""
        query = {"type": "string", "description": "what to look for", "maxLength": 200, "examples": [self.example]}
        properties = {"query": query, "filters": self._rules.schema()} if self.filterable else {"query": query}
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": {"type": "object", "properties": properties, "required": ["query"]},
            },
        }

    async def search(self, query: str, filters: Any = None) -> Found:
        """The best `results` passages and their scores, best first; none below `GRAPH_AGENT_MIN_SCORE`.

        With `collapse_copies`, copies of a passage are left out, and `metadata["also_in"]` of the passage lists their
        addresses. `filters` are the model's: a list of `{"key", "value"}` over the `filterable` columns. It raises what
        `candidates` raises.
        """
        return await self.candidates(query, filters, count=self.results)

    async def candidates(self, query: str, filters: Any = None, *, count: int) -> Found:
        """As `search`, with up to `count` passages.

        Raises:
            ToolException: the model's filters cannot be used. The message says which can.
            RetrievalFailed: the index refused, cannot be reached, or took over `GRAPH_AGENT_REQUEST_SECONDS` in all.
            WorkspaceUnavailable: the workspace cannot be reached, or does not accept the app's credentials.
            Unauthenticated: acting for a user, and there is no token. The app's identity is never used instead.
        """
        combined = self._rules.combined(filters)
        acting_as = actor(self.acting_as)
        # Before any thread or request, so that a missing token fails first.
        token = user_token().value if acting_as == "user" else None
        least = current_settings().min_score
        try:
            async with asyncio.timeout(current_settings().request_seconds):
                return await self._distinct(partial(self._found, query, combined, acting_as, token), count, least)
        except Exception as error:
            raise self._error(error, acting_as, filtered=bool(filters)) from error

    async def warm(self) -> None:
        """Do the work that delays the first search: imports, and as the app the calls that read the index.

        Raises:
            RetrievalFailed, WorkspaceUnavailable: as for a search. The next search tries again.
        """
        acting_as = actor(self.acting_as)
        try:
            async with asyncio.timeout(current_settings().request_seconds):
                if acting_as == "app" and await self._threads().run(self._app().warm):
                    return
                await self._threads().run(_prepared, asyncio.get_running_loop())
        except Exception as error:
            raise self._error(error, acting_as, filtered=False) from error

    async def _distinct(self, ask: Callable[[int], Awaitable[Found]], count: int, least: float) -> Found:
        """`count` different passages of at least this score. Asks once more if there were too many copies."""
        if not self.collapse_copies:
            return [one for one in await ask(count) if one[1] >= least]
        few, many = min(OVER_ASKED * count, MOST_ASKED), MOST_ASKED
        for asked in (max(count, few), max(count, many)):
            found = await ask(asked)
            good = [one for one in found if one[1] >= least]
            kept = without_copies(good, count)
            # There are more to ask for only if the index gave all that it could, and all of them were good.
            if len(kept) >= min(count, self.results) or len(good) < asked:
                break
        return kept

    async def _found(self, text: str, filters: Filters, acting_as: Actor, token: str | None, count: int) -> Found:
        if token is None:
            found = await self._threads().run(self._app().search, text, filters, count)
            if found is not None:
                return found
            # The tool does not support the app's kind of credentials: search with the app's token.
            token = await self._threads().run(_app_token)
        host = await self._threads().run(_prepared, asyncio.get_running_loop())
        vector = None
        if self.embedding is not None:
            vector = await self._threads().run(_embedded, text, self.embedding, acting_as)
        return await search_with_token(token, self, text, filters, host=host, vector=vector, count=count)

    def _error(self, error: Exception, acting_as: Actor, *, filtered: bool) -> Exception:
        """The exception that a search raises for `error`."""
        if isinstance(error, AgentError | ToolException):
            return error
        # With the model's filters a 400 is most likely their fault, and the model can correct them.
        if filtered and status_of(error) == 400:
            return ToolException(f"the index refused these filters. {self._rules.allowed()}")
        what = f"the index {self.index_name}"
        if isinstance(error, TimeoutError):
            return RetrievalFailed(f"{what} did not answer within {current_settings().request_seconds:g} s")
        return search_error(error, Service(what, "SELECT on it, with USE CATALOG and USE SCHEMA above it", acting_as))

    @cached_property
    def _rules(self) -> FilterRules:
        as_text = self.storage_optimized or isinstance(self.filters, str)
        return FilterRules(self.filterable, self.filters, as_text)

    @cached_property
    def _threads(self) -> PerApp[SearchThreads]:
        return PerApp(lambda: SearchThreads(self.name), close=SearchThreads.close)

    @cached_property
    def _app(self) -> PerApp[AppSearch]:
        return PerApp(lambda: AppSearch(self))


def without_copies(found: Found, count: int) -> Found:
    """The first `count` different passages. `metadata["also_in"]` of each lists where its copies are, if it has any."""
    return [with_places(one) for one in distinct(found, text=lambda pair: pair[0].page_content, most=count)]


def _app_token() -> str:
    return workspace_client().config.authenticate()["Authorization"].removeprefix("Bearer ")


def _prepared(loop: asyncio.AbstractEventLoop) -> str:
    """Prepare the client for the loop, and return the workspace's address."""
    prepare(loop)
    return str(workspace_client().config.host)


def _embedded(text: str, endpoint: str, acting_as: Actor) -> list[float]:
    return embed_query(text, endpoint=endpoint, acting_as=acting_as)
