"""LangGraph's store for one run: the memories of the run's owner. Imports LangGraph."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    get_text_at_path,
    validate_op_namespace,
)

from graph_agent.errors import MemoryRefused, RunCancelled
from graph_agent.identity.owner import Owner
from graph_agent.redaction import redact, redact_value_async
from graph_agent.run_lifetime import RunLifetime
from graph_agent.stores.memory_records import TEXT, Memory, MemoryChange, MemorySearch
from graph_agent.stores.store import Store

OpenStore = Callable[[], Awaitable[Store]]
"""Returns the open store. It is called when a graph uses its memory, not before."""


class OwnedMemories(BaseStore):
    """The memories of one owner as LangGraph's store. Make it on the event loop.

    Every namespace is within the owner's own, whatever its labels are. So a graph cannot name another owner, and two
    owners may use the same namespaces. A batch reads before it writes, as LangGraph's own stores do.

    After the end of the run's `lifetime` it refuses every call. So what a run leaves behind, such as a node that
    ignores its cancellation, saves nothing after its owner may have deleted everything.
    """

    def __init__(
        self, owner: Owner, store: OpenStore, *, response: str | None = None, lifetime: RunLifetime | None = None
    ) -> None:
        self._owner = owner
        self._store = store
        self._response = response
        self._lifetime = lifetime or RunLifetime()
        self._loop = asyncio.get_running_loop()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """See `BaseStore.batch`. For synchronous nodes and tools, which run in threads."""
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            raise asyncio.InvalidStateError(
                "a synchronous call of the store would block the event loop: await the method that begins with `a`"
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """See `BaseStore.abatch`.

        Raises:
            MemoryRefused: a memory cannot be saved, such as because there are too many.
            RunCancelled: the run has ended.
            StoreUnavailable: the database does not answer.
        """
        given = list(ops)
        for op in given:
            validate_op_namespace(op)
        # Checked and redacted before anything is done.
        changes = await self._changes([op for op in given if isinstance(op, PutOp)])
        memories = (await self._store()).memories
        if self._lifetime.over:
            raise RunCancelled("the run has ended, and its memory with it")
        places = {(op.namespace, op.key) for op in given if isinstance(op, GetOp)}
        read = await memories.read(self._owner, places) if places else {}
        results: list[Result] = []
        for op in given:
            match op:
                case GetOp():
                    found = read.get((tuple(op.namespace), op.key))
                    results.append(None if found is None else _item(found))
                case SearchOp():
                    sought = MemorySearch(
                        prefix=tuple(op.namespace_prefix),
                        query=op.query,
                        accepts=_filter(op.filter),
                        limit=op.limit,
                        offset=op.offset,
                    )
                    results.append([_search_item(one) for one in await memories.search(self._owner, sought)])
                case ListNamespacesOp():
                    results.append(_listed(await memories.namespaces(self._owner), op))
                case _:
                    results.append(None)
        await memories.write(self._owner, changes, response=self._response)
        return results

    async def _changes(self, ops: Sequence[PutOp]) -> list[MemoryChange]:
        changes: dict[tuple[tuple[str, ...], str], MemoryChange] = {}
        for op in ops:
            if op.ttl is not None:
                raise NotImplementedError("memories stay until they are deleted: `ttl` is not supported")
            if not op.namespace:
                raise InvalidNamespaceError("Namespace cannot be empty.")
            place = (tuple(op.namespace), op.key)
            if any(redact(text) != text for text in (*place[0], place[1])):
                raise MemoryRefused("a namespace or a key of a memory contains a secret")
            value = None if op.value is None else await redact_value_async(dict(op.value))
            # The last one counts, as in LangGraph's own stores.
            changes[place] = MemoryChange(place=place, value=value, searched=_searched(value, op.index))
        return list(changes.values())


def _searched(value: Mapping[str, Any] | None, index: Any) -> str | None:
    """The text by which a value is found. Several fields are one text."""
    if value is None or index is False:
        return None
    paths = index or ([TEXT] if isinstance(value.get(TEXT), str) else ["$"])
    return "\n".join(text for path in paths for text in get_text_at_path(value, path)) or None


def _item(memory: Memory) -> Item:
    return Item(**_fields(memory))


def _search_item(memory: Memory) -> SearchItem:
    return SearchItem(**_fields(memory), score=memory.score)


def _fields(memory: Memory) -> dict[str, Any]:
    return {
        "value": dict(memory.value),
        "key": memory.key,
        "namespace": memory.namespace,
        "created_at": datetime.fromtimestamp(memory.created_at, UTC),
        "updated_at": datetime.fromtimestamp(memory.updated_at, UTC),
    }


def _listed(namespaces: Sequence[tuple[str, ...]], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    matching = [one for one in namespaces if all(_matches(one, condition) for condition in op.match_conditions or ())]
    # Cut ones may be equal. A dictionary keeps their order.
    cut = list(dict.fromkeys(one[: op.max_depth] for one in matching))
    return cut[op.offset : op.offset + op.limit]


def _matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _filter(conditions: Mapping[str, Any] | None) -> Callable[[Mapping[str, Any]], bool] | None:
    if not conditions:
        return None
    return lambda value: all(_holds(value.get(name), wanted) for name, wanted in conditions.items())


def _holds(found: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted)):
        return bool(found == wanted)
    return all(_compares(found, name, operand) for name, operand in wanted.items())


def _compares(found: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$eq":
            return bool(found == operand)
        case "$ne":
            return bool(found != operand)
    try:
        match operator:
            case "$gt":
                return bool(found > operand)
            case "$gte":
                return bool(found >= operand)
            case "$lt":
                return bool(found < operand)
            case "$lte":
                return bool(found <= operand)
    except TypeError:
        # Values of different kinds, or none.
        return False
    raise ValueError(f"a filter has no operator {operator!r}")
