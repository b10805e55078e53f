"""The checkpoint saver of one stored run: it opens the thread at one checkpoint, and remembers what the run wrote."""

import copy
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    writes_sort_key,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from graph_agent.errors import AgentError, LeaseLost, ResponseNotFound, StoreUnavailable
from graph_agent.foreign_errors import describe_error
from graph_agent.known_messages import KnownMessages
from graph_agent.message_channel import MessagesChannel
from graph_agent.runs.instructions import MESSAGES, is_message, show_in, without
from graph_agent.runs.recent_messages import RecentMessages
from graph_agent.stores.fence import is_of_a_node
from graph_agent.stores.records import Continuation

logger = logging.getLogger(__name__)

NOWHERE = "00000000-0000-0000-0000-000000000000"
"""The id of a checkpoint that does not exist. A run from there starts with an empty state in a thread that has others.
Without an id, LangGraph would continue from the newest checkpoint of the thread."""

STUB_STEP = -2
"""The step of the empty checkpoint that LangGraph writes below the first one. It is not a state of the run."""


SPOKEN = "graph_agent_spoken"
"""The key of these ids in the metadata of a checkpoint."""

USED = "graph_agent_used"
"""The key of what the run has used by then in the metadata of a checkpoint."""

STEPS = "steps"
"""In it, the super-steps of the graph."""

ERROR = "__error__"
"""The channel in which LangGraph notes that a task has failed."""

HANDLED = "__error_source_node__"
"""The channel in which it notes that the error handler of the task's node goes on."""

UNFINISHED = frozenset({"__resume__", ERROR, HANDLED})
"""Channels in which LangGraph notes what happened to a task, other than that it ended or asked."""


@dataclass(slots=True)
class _Written:
    """What one run wrote. All copies of its saver share it."""

    checkpoint: str | None = None
    steps: int = 0
    closed: bool = False
    unstorable: bool = False
    """Whether the state holds a value that cannot be stored. Then nothing of it is."""

    came_further: bool = False
    """Whether a step of the top graph has ended, or a task of its step."""

    checkpoints: int = 0
    """How many checkpoints of the top graph, without the empty one below the first."""

    below: str | None = None
    """The one below the last."""

    snapshot: Any = None
    """The messages in the last checkpoint, if it holds all of them."""

    messages: list[tuple[tuple[Any, ...], str, Any]] = field(default_factory=list)
    """What was written to `messages`: the order in which it is read again, the checkpoint it belongs to, the value."""


class RunSaver(BaseCheckpointSaver[Any]):
    """Passes everything to the store's saver, with three additions.

    - `open` reads the checkpoint from which the run starts. The graph then gets it without another query.
    - `checkpoint` is the id of the last checkpoint that the run wrote, also without a query.
    - After `close`, or once the run has lost its lease, nothing is written. A node that ignores its cancellation may
      end much later, when the conversation has continued elsewhere.
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        *,
        continuation: Continuation,
        holds_lease: Callable[[], bool],
        regains_lease: Callable[[], Awaitable[bool]],
        recent: RecentMessages | None = None,
    ) -> None:
        super().__init__(serde=inner.serde)
        self._inner = inner
        self._continuation = continuation
        self._holds_lease, self._regains_lease = holds_lease, regains_lease
        self._recent = recent
        self._channel: MessagesChannel | None = None
        self._before: list[Any] = []
        self._written = _Written()
        self._latest: CheckpointTuple | None = None
        self._start: CheckpointTuple | None = None
        self._hidden: SystemMessage | None = None
        self._names_start = False
        self.spoken: Sequence[str] | None = None
        """The ids of the messages that were streamed so far, to be noted in each checkpoint. The process may die before
        the events of these messages are stored."""
        self.used: Callable[[], Mapping[str, int]] | None = None
        """What the run has used so far, to be noted in each checkpoint, so that another attempt counts on from it."""

    @property
    def checkpoint(self) -> str | None:
        """The last checkpoint of the top graph that this run wrote, or `None`."""
        return self._written.checkpoint

    @property
    def unstorable(self) -> bool:
        """Whether the state holds a value that cannot be stored."""
        return self._written.unstorable

    @property
    def came_further(self) -> bool:
        """Whether this attempt has written something from which the next one goes on: a step of the top graph that has
        ended, or a task of its step.

        What graphs within it write does not count: a node that starts over may run them from their beginning.
        """
        return self._written.came_further

    def close(self) -> None:
        """Refuse everything that the run still writes."""
        self._written.closed = True

    # -- the start of the run -----------------------------------------------------------------------------------

    def hide(self, instructions: SystemMessage) -> None:
        """Leave this message out of everything that the run writes. It has an id."""
        self._hidden = instructions

    async def open(self, *, forgotten: Collection[str] = (), forks: bool = False) -> CheckpointTuple | None:
        """Read the checkpoint from which the run starts, or return `None` if it starts with an empty state.

        The run starts as if the channels that are `forgotten` had never been written. With `forks`, what it is resumed
        with is written into a checkpoint of its own, and not to the one from which it starts: other runs may start
        there, too.

        Raises:
            ResponseNotFound: the checkpoint does not exist any more.
            StoreUnavailable: the database does not answer.
        """
        start, self._names_start = self._continuation.checkpoint, forks
        if self._continuation.is_new:
            return None
        # The newest first: it is nearly always the one, and LangGraph asks for it anyway.
        self._latest = await self.aget_tuple({"configurable": self._address})
        if start is None:
            return None
        if self._latest is not None and self._latest.checkpoint["id"] == start:
            self._start = self._latest
        else:
            self._start = await self.aget_tuple({"configurable": {**self._address, "checkpoint_id": start}})
        if self._start is None:
            raise ResponseNotFound("the state after the previous response does not exist any more")
        for name in forgotten:
            # The version too: the store keeps one value for each version, so an old one would come back.
            self._start.checkpoint["channel_values"].pop(name, None)
            self._start.checkpoint["channel_versions"].pop(name, None)
        return self._start

    def noted_in_latest(self) -> tuple[str | None, Collection[str], Mapping[str, int]]:
        """Which run, or part of a run, wrote the newest checkpoint of the thread, and what had been streamed and used
        by then: see `spoken` and `used`. Call `open` first."""
        metadata: Mapping[str, Any] = {} if self._latest is None else cast("Mapping[str, Any]", self._latest.metadata)
        return metadata.get("run_id"), metadata.get(SPOKEN) or (), metadata.get(USED) or {}

    def resume(self) -> None:
        """Start at the newest checkpoint, which an earlier attempt at this run wrote."""
        assert self._latest is not None
        self._start, self._channel, self._names_start = self._latest, None, False
        self._written.checkpoint = self._latest.checkpoint["id"]
        _, _, used = self.noted_in_latest()
        self._written.steps = used.get(STEPS, 0)

    def recent_messages(self) -> list[Any] | None:
        """The messages where the run starts, if this process has them in memory."""
        if self._recent is None or self._start is None:
            return None
        return self._recent.find(self._continuation.thread, self._start.checkpoint["id"])

    def known_of_recent_messages(self) -> KnownMessages | None:
        """What is known of them."""
        if self._recent is None or self._start is None:
            return None
        return self._recent.known(self._continuation.thread, self._start.checkpoint["id"])

    def follows(self, channel: MessagesChannel, messages: Sequence[Any], known: KnownMessages | None) -> None:
        """The run continues these messages in this channel. `keep_messages` needs them, and what is known of them."""
        self._before = list(messages)
        self._channel = channel if known is None else channel.knowing(self._before, known)

    def keep_messages(self) -> None:
        """Keep the messages after the run in memory, for the next one. Call it when the run is recorded."""
        written, thread = self._written, self._continuation.thread
        if self._recent is None or self._channel is None or written.checkpoint is None:
            return
        if isinstance(written.snapshot, _DeltaSnapshot):
            self._recent.keep(thread, written.checkpoint, written.snapshot.value)
            return
        pending = () if self._start is None else self._start.pending_writes or ()
        if written.checkpoints != 1 or any(channel == MESSAGES for _, channel, _ in pending):
            # The next run reads them from the store.
            self._recent.drop(thread)
            return
        channel = self._channel.from_checkpoint(_DeltaSnapshot(self._before))
        # As the store returns them.
        ordered = sorted((one for one in written.messages if one[1] == written.below), key=lambda one: one[0])
        channel.replay_writes([("", MESSAGES, value) for _, _, value in ordered])
        self._recent.keep(thread, written.checkpoint, channel.get(), channel.known)

    @property
    def configurable(self) -> Mapping[str, Any]:
        """Where the graph starts, for its config. Call `open` first.

        Savers copy these values into the metadata of checkpoints, so a token must never be among them.
        """
        address: dict[str, Any] = {"thread_id": self._continuation.thread}
        if self._start is not self._latest or self._names_start:
            # Only then: a run that starts at a named checkpoint writes a `DeltaChannel` whole, because the checkpoint
            # may have other children.
            address["checkpoint_id"] = NOWHERE if self._start is None else self._start.checkpoint["id"]
        return address

    @property
    def _address(self) -> dict[str, Any]:
        return {"thread_id": self._continuation.thread, "checkpoint_ns": ""}

    def _is_root(self, config: RunnableConfig) -> bool:
        place = config["configurable"]
        return place.get("thread_id") == self._continuation.thread and not place.get("checkpoint_ns")

    def _opened(self, config: RunnableConfig) -> tuple[CheckpointTuple | None] | None:
        """What `open` read at this place, or `None` if the inner saver must be asked."""
        if self._written.checkpoint is not None or not self._is_root(config):
            return None
        wanted = config["configurable"].get("checkpoint_id")
        if wanted == NOWHERE or (not wanted and self._continuation.is_new):
            return (None,)
        if not wanted and self._latest is not None:
            return (self._latest,)
        if self._start is not None and wanted == self._start.checkpoint["id"]:
            return (self._start,)
        return None

    # A graph within the graph may have a history of its own (`checkpointer=True`). In a run that starts at a named
    # checkpoint, LangGraph looks for the newest state of that graph before the run. It should be the newest before the
    # checkpoint, or else the branches of a conversation would share one history.

    def _forks(self, config: RunnableConfig | None, before: RunnableConfig | None) -> bool:
        return (
            before is not None and config is not None and not self._is_root(config) and self._start is not self._latest
        )

    def _is_below_empty(self, config: RunnableConfig | None, before: RunnableConfig | None) -> bool:
        return self._start is None and self._forks(config, before)

    def _place_before(self, config: RunnableConfig | None, before: RunnableConfig | None) -> RunnableConfig | None:
        if self._start is None or not self._forks(config, before):
            return before
        return {"configurable": {"checkpoint_id": self._start.checkpoint["id"]}}

    # -- the interface of LangGraph -----------------------------------------------------------------------------

    def with_allowlist(self, extra_allowlist: Collection[tuple[str, ...]]) -> "RunSaver":
        clone = copy.copy(self)
        clone._inner = self._inner.with_allowlist(extra_allowlist)
        clone.serde = clone._inner.serde
        return clone

    @property
    def config_specs(self) -> list[Any]:
        return self._inner.config_specs

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self._inner.get_next_version(current, channel)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if (opened := self._opened(config)) is not None:
            return opened[0]
        with _safe():
            return self._read(config, await self._inner.aget_tuple(config))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if (opened := self._opened(config)) is not None:
            return opened[0]
        with _safe():
            return self._read(config, self._inner.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        if self._is_below_empty(config, before):
            return
        before = self._place_before(config, before)
        with _safe():
            async for one in self._inner.alist(config, filter=filter, before=before, limit=limit):
                yield self._read(one.config, one) or one

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        if self._is_below_empty(config, before):
            return
        before = self._place_before(config, before)
        with _safe():
            for one in self._inner.list(config, filter=filter, before=before, limit=limit):
                yield self._read(one.config, one) or one

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        with _safe():
            return await self._inner.aget_delta_channel_history(config=config, channels=channels)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        with _safe():
            return self._inner.get_delta_channel_history(config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        if not self._holds_lease():
            await self._regains_lease()
        self._require_lease()
        saved = _saved_as(config, checkpoint)
        if self._written.unstorable:
            return saved
        with self._storing():
            saved = await self._inner.aput(
                _below(config), self._shown(checkpoint), self._noting(config, metadata), new_versions
            )
            self._note(config, checkpoint, metadata)
        return saved

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        self._require_lease()
        saved = _saved_as(config, checkpoint)
        if self._written.unstorable:
            return saved
        with self._storing():
            saved = self._inner.put(
                _below(config), self._shown(checkpoint), self._noting(config, metadata), new_versions
            )
            self._note(config, checkpoint, metadata)
        return saved

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if _is_unfinished(writes) or self._written.unstorable:
            return
        if not self._holds_lease():
            await self._regains_lease()
        self._require_lease()
        with self._storing():
            shown = self._shown_writes(writes)
            await self._inner.aput_writes(config, shown, task_id, task_path)
            self._note_writes(config, shown, task_id, task_path)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        if _is_unfinished(writes) or self._written.unstorable:
            return
        self._require_lease()
        with self._storing():
            shown = self._shown_writes(writes)
            self._inner.put_writes(config, shown, task_id, task_path)
            self._note_writes(config, shown, task_id, task_path)

    def _read(self, config: RunnableConfig, saved: CheckpointTuple | None) -> CheckpointTuple | None:
        # A graph within the graph may have its own history, as one with `checkpointer=True` has.
        if saved is not None and self._hidden is not None and not self._is_root(config):
            show_in(saved.checkpoint, self._hidden)
        return saved

    def _shown(self, checkpoint: Checkpoint) -> Checkpoint:
        """The checkpoint without what is hidden."""
        if self._hidden is None:
            return checkpoint
        return {**checkpoint, "channel_values": without(checkpoint["channel_values"], str(self._hidden.id))}

    def _shown_writes(self, writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
        if self._hidden is None:
            return writes
        hidden = str(self._hidden.id)
        # A node may also return one message instead of a list. Every write keeps its place, by which it is stored.
        return [(name, [] if is_message(value, hidden) else without(value, hidden)) for name, value in writes]

    def _require_lease(self) -> None:
        if self._written.closed or not self._holds_lease():
            raise LeaseLost("the run no longer holds its conversation, so nothing of it is stored")

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Write something of the state. A value that the serializer does not know does not end the run: its response is
        stored without a checkpoint, and the next turn gets the items of this one as messages."""
        with _safe():
            try:
                yield
            except (TypeError, ValueError, OverflowError) as error:
                # The serializer raises these before it talks to the database.
                logger.warning(
                    "the graph's state holds a value that cannot be stored: %s; only this turn's messages are kept",
                    describe_error(error),
                )
                self._written.unstorable, self._written.checkpoint, self._written.snapshot = True, None, None
                self._written.messages.clear()

    def _noting(self, config: RunnableConfig, metadata: CheckpointMetadata) -> CheckpointMetadata:
        if self.spoken is None:
            return metadata
        noted: dict[str, Any] = {**metadata, SPOKEN: list(self.spoken)}
        if self.used is not None:
            if self._is_root(config) and metadata.get("source") == "loop":
                self._written.steps += 1
            noted[USED] = {**self.used(), STEPS: self._written.steps}
        return cast("CheckpointMetadata", noted)

    def _note(self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> None:
        if self._is_root(config) and metadata.get("step") != STUB_STEP:
            written = self._written
            written.came_further = written.came_further or metadata.get("source") == "loop"
            written.checkpoint = checkpoint["id"]
            written.checkpoints += 1
            written.below = config["configurable"].get("checkpoint_id")
            written.snapshot = self._shown(checkpoint)["channel_values"].get(MESSAGES)

    def _note_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        if not self._is_root(config):
            return
        if is_of_a_node(task_id) and not any(channel == ERROR for channel, _ in writes):
            self._written.came_further = True
        if self._channel is None:
            return
        below = config["configurable"]["checkpoint_id"]
        for place, (name, value) in enumerate(writes):
            if name == MESSAGES:
                self._written.messages.append((writes_sort_key(task_path, task_id, place), below, value))


def _is_unfinished(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether a task was resumed or has failed, and has neither ended nor asked again. Nor does an error handler go on.

    With the answer that it was resumed with, the next attempt would not ask, whatever is answered then.

    A task may fail after its node has returned, in its router or in another writer. If what the node returned were
    stored, the task would read as one that has ended, and the next attempt would not ask the router again. It is stored
    if an error handler goes on: the step then ends with what both returned.
    """
    channels = {channel for channel, _ in writes}
    return channels <= UNFINISHED or (ERROR in channels and HANDLED not in channels)


def _below(config: RunnableConfig) -> RunnableConfig:
    """A first checkpoint has no parent, rather than one that does not exist."""
    if config["configurable"].get("checkpoint_id") != NOWHERE:
        return config
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": None}}


def _saved_as(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    return {**config, "configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}


@contextmanager
def _safe() -> Iterator[None]:
    """Errors of a database may quote its address and password, so their text goes no further."""
    try:
        yield
    except AgentError:
        raise
    except Exception as error:  # noqa: BLE001 - a driver may raise anything
        logger.error("the store failed: %s", describe_error(error))
        raise StoreUnavailable("the store does not answer; try again shortly") from None
