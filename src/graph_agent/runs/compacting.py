"""Compacts histories: a model summarizes them, and what it says is sealed for the client to keep.

The key is that of the settings, or else one that the store keeps for all processes that share it.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from graph_agent.errors import CompactionFailed, InvalidEncryptedContent
from graph_agent.identity.caller import Caller
from graph_agent.identity.owner import Owner
from graph_agent.protocol.compaction import Compacted, compaction_item
from graph_agent.protocol.item_shapes import Item
from graph_agent.runs.gently import run_gently
from graph_agent.runs.graph_source import Graphs
from graph_agent.sealing import KEY_BYTES, CannotOpen, Sealer, TooLarge

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds, and the service imports this module before its port is bound.
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from graph_agent.runs.request import RunRequest
    from graph_agent.stores.store import Store

SECRET = "compaction"
"""The name of the key in the store."""


class Compaction:
    """What an app needs to compact histories, and to read compacted ones."""

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        open_store: "Callable[[], Awaitable[Store]] | None" = None,
        model_of: "Callable[[str | None], BaseChatModel] | None" = None,
    ) -> None:
        """The first of `secrets` seals, and all of them open. Without any, the store of `open_store` has the key, or
        without that, the store of the run.

        `model_of` makes the chat model `provider:name`, or the default one of `None`. Without it, `chat_model` does.
        """
        self._secrets = secrets
        self._open_store = open_store
        self._model_of = model_of
        self._sealers: WeakKeyDictionary[Store, Sealer] = WeakKeyDictionary()
        self._models: dict[str | None, BaseChatModel] = {}

    async def sealer(self, owner: Caller, store: "Store") -> "OwnerSealer":
        """What seals and opens for this owner.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        if self._open_store is not None:
            # What a connection remembers is in another one.
            store = await self._open_store()
        if (known := self._sealers.get(store)) is None:
            found = [one.encode() for one in self._secrets]
            known = Sealer(found or [await store.secret(SECRET, secrets.token_bytes(KEY_BYTES))])
            self._sealers[store] = known
        return OwnerSealer(known, Owner.of(owner))

    def model(self, graphs: Graphs, graph: str) -> "BaseChatModel":
        """The model that summarizes the conversations of a graph."""
        name = graphs.compaction_model(graph)
        if (model := self._models.get(name)) is None:
            # Late: it imports LangChain.
            from graph_agent.models import chat_model

            model = self._models[name] = (self._model_of or chat_model)(name)
        return model

    async def of_run(
        self, request: "RunRequest", *, store: "Store | None", graphs: Graphs, graph: str
    ) -> "RunCompaction | None":
        """What compacts the history of this run, if its request asks for that.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        invocation = request.invocation
        if invocation.compact_threshold is None or store is None:
            return None
        said: str | None = invocation.instructions or invocation.said.get("instructions")
        return RunCompaction(
            threshold=invocation.compact_threshold,
            sealer=await self.sealer(request.owner, store),
            model=self.model(graphs, graph),
            instructions=said,
        )


class OwnerSealer:
    """Seals and opens the compacted histories of one owner."""

    def __init__(self, sealer: Sealer, owner: Owner) -> None:
        self._sealer = sealer
        self._context = f"{SECRET}\0{owner.key}".encode("utf-8", "surrogatepass")

    async def sealed(self, compacted: Compacted) -> str:
        """The sealed text.

        Raises:
            CompactionFailed: what must stay is too large.
        """
        try:
            return await run_gently(
                lambda pulse: self._sealer.seal(compacted.written(), self._context),
                [compacted.summary, compacted.items],
            )
        except TooLarge:
            raise CompactionFailed(
                "what must stay of the conversation word by word is too large: send smaller images and files"
            ) from None

    async def opened(self, item: Item, *, path: str) -> Compacted:
        """What a compaction of this owner says. `path` is that of the item in the request.

        Raises:
            InvalidEncryptedContent: another owner or another key sealed it, or it was changed.
        """
        sealed = item["encrypted_content"]
        try:
            return await run_gently(lambda pulse: Compacted.read(self._sealer.open(sealed, self._context)), [sealed])
        except (CannotOpen, LookupError, TypeError, ValueError):
            raise InvalidEncryptedContent(
                f"`{path}.encrypted_content` cannot be opened: it was changed, or it was sealed for another user or "
                "with a key that this service has no more. Send the history itself.",
                param=f"{path}.encrypted_content",
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A history that was compacted."""

    item: Item
    """For the output of the response."""

    messages: "Sequence[BaseMessage]"
    """What the graph reads instead."""


class RunCompaction:
    """Compacts the history of one run."""

    def __init__(
        self,
        *,
        threshold: int,
        sealer: OwnerSealer,
        model: "BaseChatModel",
        instructions: str | None = None,
    ) -> None:
        """`threshold` is in tokens. `instructions` are those of the request, which never stay."""
        self._threshold = threshold
        self._sealer = sealer
        self._model = model
        self._instructions = instructions

    async def compacted(self, messages: "Sequence[BaseMessage]", config: "RunnableConfig") -> History | None:
        """The history with a summary before its newest turn. `None`: it is within the threshold, or it has only one
        turn. `messages` are without the instructions. `config` is passed to the model.

        Raises:
            CompactionFailed: the model gave no summary, or the newest turn is too large to be sealed.
            ModelFailed: the model cannot be asked, or one of its subclasses.
        """
        from langchain_core.messages import SystemMessage

        from graph_agent.newest_turn import start_of_newest_turn
        from graph_agent.protocol.items_from_messages import new_id
        from graph_agent.protocol.messages import to_items
        from graph_agent.runs.summarizing import summarize
        from graph_agent.runs.token_counts import estimated_tokens
        from graph_agent.summaries import is_summary, summary_message

        start = start_of_newest_turn(messages)
        operators = [one for one in messages[:start] if isinstance(one, SystemMessage)]
        earlier = [one for one in messages[:start] if not isinstance(one, SystemMessage)]
        if all(map(is_summary, earlier)):
            return None
        if await estimated_tokens(messages, instructions=self._instructions) <= self._threshold:
            return None
        summary = await summarize(earlier, model=self._model, config=config)
        newest = messages[start:]
        items = to_items([*operators, *newest])
        item_id = new_id("cmp")
        sealed = await self._sealer.sealed(Compacted(summary=summary, items=items))
        return History(
            item=compaction_item(item_id, sealed),
            messages=[*operators, summary_message(summary, item_id, sealed=sealed), *newest],
        )


def without_instructions(messages: "Sequence[BaseMessage]", said: Mapping[str, Any]) -> "Sequence[BaseMessage]":
    """The messages without the instructions of the request, with which they begin."""
    first = messages[0] if messages else None
    has_them = first is not None and first.type == "system" and first.content == said.get("instructions")
    return messages[1:] if has_them else messages
