"""The interfaces of a store. `opening.open_store` makes the one that the settings name.

Every method that looks something up takes an `Owner` first. What belongs to another owner is absent: the error and the
time are those of an id that does not exist.

Every method raises `StoreUnavailable` if the database does not answer.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from graph_agent.identity.owner import Owner
from graph_agent.stores.delivery_records import Delivery
from graph_agent.stores.memory_records import Forgotten, Memory, MemoryChange, MemorySearch, Namespace, Place
from graph_agent.stores.records import (
    Conversation,
    EndedResponse,
    Fingerprints,
    GivenFeedback,
    Item,
    NewResponse,
    Page,
    StoredApproval,
    StoredResponse,
)
from graph_agent.stores.run_records import (
    ClaimedRun,
    EventBatch,
    KeyedRun,
    Renewed,
    Right,
    RunLimits,
    RunState,
    StoredRun,
)
from graph_agent.stores.steer_records import NewSteer, SteerLimits, StoredSteer
from graph_agent.stores.usage_records import USAGE_KEYS, Outcomes, UsageBatch, UsageKey, UsageRow

if TYPE_CHECKING:
    # Imports LangChain, which takes seconds.
    from langgraph.checkpoint.base import BaseCheckpointSaver


class ResponseStore(Protocol):
    """Responses and conversations."""

    # -- the life of a response ---------------------------------------------------------------------------------

    async def begin(self, owner: Owner, new: NewResponse, *, busy_until: float) -> None:
        """Record that a run starts, and take its conversation's lease until `busy_until` (seconds since 1970).

        A conversation that does not exist yet is created. All of this is one transaction. A lease that has expired is
        taken over: the response that held it ends as `failed` with the code `process_lost`.

        Decisions are recorded in the same transaction, each for one run only.

        A key and a run that `new` brings are recorded too.

        Raises:
            ConversationBusy: another run has the lease. `running` is the id of its response.
            ResponseNotFound: the parent was deleted meanwhile.
            ApprovalAnswered: an approval was answered meanwhile.
            IdempotencyKeyUsed: another request has used the key of the run.
            TooManyRuns: the queue is full.

        Steers of the parent that `new` names are taken in the same transaction. If another response has taken them, the
        conversation counts as busy.
        """

    async def finish(self, owner: Owner, response_id: str, ended: EndedResponse) -> int:
        """Record how a run ended, make the response the head of its conversation, and release the lease.

        Returns how many steers were given back.

        If it failed without a checkpoint, its decisions had no effect and may be given again. With `ended.right`, the
        end is recorded once, and recording it again does nothing.

        A successor begins in the same transaction, as `begin` would begin it.

        Raises:
            SteersQueued: steers wait for the response that `ended` does not deal with. Nothing was written.
            LeaseLost: the run no longer has the lease, or its right is lost. Nothing was written.
        """

    async def steer(self, owner: Owner, new: NewSteer, *, limits: SteerLimits) -> StoredSteer:
        """Queue messages for a response in progress, and tell the process that runs it.

        The same request with the same key gets what it got before.

        Raises:
            ResponseNotFound: this owner has no such response.
            ResponseCompleted, ResponseNotActive: the response is not in progress any more.
            TooManySteers: too much is queued for it.
            IdempotencyKeyUsed: another request has used the key.
        """

    async def steers(self, owner: Owner, response_id: str) -> Sequence[StoredSteer]:
        """What was accepted for a response, in order. A response that this owner does not have has nothing."""

    async def keep_feedback(self, owner: Owner, response_id: str, feedback: Mapping[str, GivenFeedback]) -> None:
        """Keep what the owner says about a response. Does nothing if the response was deleted meanwhile."""

    async def renew(self, response_ids: Collection[str], *, busy_until: float) -> Collection[str]:
        """Extend the leases of these responses. Returns the ids of those that have lost theirs."""

    async def end_lost(self, owner: Owner, response_id: str) -> bool:
        """End a response whose lease has expired, as `begin` does when it takes the lease over. From now on its
        process can write nothing more. Returns whether it was ended."""

    # -- lookups ------------------------------------------------------------------------------------------------

    async def get(self, owner: Owner, response_id: str) -> StoredResponse:
        """One response. A run whose lease has expired is reported as `failed` with the code `process_lost`.

        Raises:
            ResponseNotFound: this owner has no such response.
        """

    async def lineage(
        self, owner: Owner, response_id: str, *, since_checkpoint: bool = False
    ) -> Sequence[StoredResponse]:
        """The responses from the root of the conversation to this one, in order.

        With `since_checkpoint`, they begin with the nearest one that has a checkpoint. So the thousandth turn does not
        read a thousand responses.

        Raises:
            ResponseNotFound: this owner has no such response.
        """

    async def matching(
        self, owner: Owner, fingerprints: Collection[Fingerprints], *, conversation: str | None = None
    ) -> Sequence[StoredResponse]:
        """The ended responses with one of these fingerprints, newest first, without `input` and `response`.

        Of very many with the same fingerprint only the newest are returned. With `conversation`, only those of that
        conversation.
        """

    async def items(self, owner: Owner, item_ids: Collection[str]) -> Mapping[str, tuple[str, Item]]:
        """Those of the items that exist, by id: the id of the response that has the item, and the item."""

    async def approvals(self, owner: Owner, approval_ids: Collection[str]) -> Mapping[str, StoredApproval]:
        """Those of the approvals that exist, by id."""

    async def delete(self, owner: Owner, response_id: str) -> None:
        """Delete a response and its items. With the last response of a conversation, its checkpoints go too.

        Responses that follow it keep their branch: they become children of its parent.

        Raises:
            ResponseNotFound: this owner has no such response.
            ConversationBusy: the response is still in progress, unless it waits for a token of its user.
        """

    # -- conversations ------------------------------------------------------------------------------------------

    async def find_conversation(self, owner: Owner, conversation_id: str) -> Conversation | None:
        """The conversation with that id in the owner's own namespace, or `None`."""

    async def create_conversation(
        self, owner: Owner, conversation_id: str, *, metadata: Mapping[str, str], title: str | None = None
    ) -> Conversation:
        """Create an empty conversation."""

    async def conversations(
        self, owner: Owner, page: Page, *, words: Sequence[str] = (), pinned: bool | None = None
    ) -> tuple[Sequence[Conversation], bool]:
        """A page of the owner's conversations by `updated_at`, and whether there are more.

        With `words`, only those whose title contains all of them, in upper or lower case. Of very many conversations
        only the newest are searched. With `pinned`, only those whose metadata pins them, or only the others.
        """

    async def update_conversation(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        metadata: Mapping[str, str] | None = None,
        title: str | None = None,
    ) -> Conversation:
        """Replace the metadata or the title.

        Raises:
            ConversationNotFound: this owner has no such conversation.
        """

    async def delete_conversation(self, owner: Owner, conversation_id: str) -> None:
        """Delete a conversation with its responses, items and checkpoints.

        Raises:
            ConversationNotFound: this owner has no such conversation.
            ConversationBusy: a run is in progress, unless it waits for a token of its user.
        """

    async def responses_of(
        self, owner: Owner, conversation_id: str, page: Page
    ) -> tuple[Sequence[StoredResponse], bool]:
        """A page of the responses of a conversation by `created_at`, of all branches, and whether there are more.

        They are without `input` and `response`: the list of a long conversation must not read all of it.

        Raises:
            ConversationNotFound: this owner has no such conversation.
        """

    async def add_items(self, owner: Owner, conversation_id: str, items: Sequence[Item]) -> StoredResponse:
        """Add items at the end of a conversation without a run, as a record of the kind `items`.

        Raises:
            ConversationNotFound: this owner has no such conversation.
            ConversationBusy: a run is in progress.
        """

    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> None:
        """Remove an item of the conversation from its response, and from every list.

        Raises:
            ConversationNotFound: this owner has no such conversation.
            ItemNotFound: the conversation has no such item.
        """

    # -- upkeep -------------------------------------------------------------------------------------------------

    async def expire(self, *, idle_since: float) -> int:
        """Delete every conversation without a response since then, and return how many were deleted."""


class RunStore(Protocol):
    """Runs that outlive their connection, and their events."""

    # -- the life of a run: it begins and ends with its response, see `ResponseStore` -------------------------------

    async def claim(self, process: str, *, limits: RunLimits, busy_seconds: float) -> Sequence[ClaimedRun]:
        """Give queued runs, and those whose lease has expired, to this process, the oldest first.

        Each gets a new attempt. Parked runs are given when their time is used up, to be ended. Runs that were
        cancelled come first and are given without regard to the limits, because ending them takes no time.
        """

    async def has_open(self) -> bool:
        """Whether any background run is queued or running, of any owner and process. Parked ones do not count."""

    async def counts(self) -> Mapping[RunState, int]:
        """How many background runs of all owners and processes are in each state. Those that have ended do not count,
        and a state without runs may be missing."""

    async def renew(self, process: str, attempts: Mapping[str, int], *, busy_seconds: float) -> Renewed:
        """Extend the leases of this process's runs for so many seconds from now: response id -> attempt."""

    async def append(self, batches: Sequence[EventBatch]) -> Collection[str]:
        """Commit events of several runs in one transaction. Returns the ids of runs whose right is lost.

        Events that are committed already count as committed, so a batch can be sent again, also with more at its end.
        """

    async def release(self, right: Right, *, process: str, to: RunState, home: str | None = None) -> None:
        """Put a run back: to `queued` when its process ends, or to `parked` when its user's token is gone.

        A run that was cancelled is queued in any case, to be ended. The process `home` has a token, and others leave
        the run to it for a time.

        Raises:
            LeaseLost: the right is lost.
        """

    # -- for its owner ----------------------------------------------------------------------------------------------

    async def get(self, owner: Owner, response_id: str) -> StoredRun | None:
        """The run of a response, or `None` if the store knows none."""

    async def with_key(self, owner: Owner, key: str) -> KeyedRun | None:
        """The run that this owner has asked for with that `Idempotency-Key`."""

    async def events(self, owner: Owner, response_id: str, *, after: int, most: int) -> Sequence[bytes]:
        """At most about `most` committed events with a number above `after`, in order. Each is JSON on a line."""

    async def cancel(self, owner: Owner, response_id: str) -> None:
        """Ask the process that has the run to end it. A queued or parked run becomes claimable, to be ended."""

    async def cancel_all(self, owner: Owner) -> Collection[str]:
        """Do so with all background runs of an owner. Returns the ids of those that have not ended."""

    async def cancelled(self, process: str) -> Collection[str]:
        """The ids of the runs that this process has, and that somebody asked to cancel."""

    async def steered(self, process: str) -> Collection[str]:
        """The ids of the runs that this process has, and for whose responses steers wait."""

    async def wake(self, owner: Owner, response_id: str, *, home: str) -> bool:
        """Queue a parked run again: the process `home` has a token. Returns whether it was parked."""

    # -- upkeep -----------------------------------------------------------------------------------------------------

    async def expire_events(self, *, older_seconds: float) -> int:
        """Delete the events and keys of runs that ended before so many seconds. Returns how many runs they were of.

        A run in the foreground whose process is gone for that long ends.
        """


class Signals(Protocol):
    """News between the processes that share a store. A signal may come without reason, and one may be missed when the
    database was away: whoever waits looks again from time to time."""

    def listening(self, topic: str) -> AbstractAsyncContextManager["Listening"]:
        """Listen to a topic: the id of a response, whose new events and end it announces; the id of a process, whose
        runs somebody cancels; or `QUEUE`."""


class Listening(Protocol):
    """One listener."""

    async def wait(self, seconds: float) -> None:
        """Wait for the next signal since the last `wait` returned, or for so many seconds."""


QUEUE = "queue"
"""The topic of runs that wait for a process."""

DELIVERIES = "webhooks"
"""The topic of webhooks that are to be sent."""


class Schedules(Protocol):
    """Which times of the operator's schedules were dealt with. A run that begins at one takes it: `NewRun.tick`."""

    async def last_tick(self, owner: Owner, name: str, *, new: float) -> float:
        """The last time that was dealt with, in seconds since 1970. For a schedule that is new, it is `new` from now
        on."""

    async def pass_over(self, owner: Owner, name: str, tick: float) -> bool:
        """Deal with a time, and with all before it, without a run. Returns whether nobody had done so."""


class Deliveries(Protocol):
    """Webhooks that have not arrived. A run adds its own in the transaction that ends it: `NewRun.webhook`."""

    async def claim(self, free: Mapping[str, int], *, most: int, busy_seconds: float) -> Sequence[Delivery]:
        """Give messages that are due to this process: at most `most`, and so many for each target, the oldest first.

        Unless it says within `busy_seconds` what became of them, they are due again.
        """

    async def due_in(self, targets: Collection[str]) -> float | None:
        """The seconds until a message to one of these targets is due. `None` if there is none."""

    async def done(self, delivery: Delivery) -> None:
        """Delete a message: it has arrived, or is given up. Does nothing if another process has claimed it since."""

    async def retry(self, delivery: Delivery, *, seconds: float) -> None:
        """Make a message due again in so many seconds. Does nothing if another process has claimed it since."""

    async def expire(self, *, older_seconds: float) -> int:
        """Delete the messages that are older than that, and return how many there were."""


class UsageStore(Protocol):
    """Who has used how many tokens, and what counts against the limits for people."""

    async def apply(self, batch: UsageBatch) -> Outcomes:
        """Count what calls have used, and decide what may begin, in one transaction.

        Reservations that were not renewed in time count as used. A settled reservation is not settled again, so that
        a batch can be repeated.
        """

    async def usage(
        self,
        *,
        since: str,
        until: str,
        owner: str | None = None,
        by: Sequence[UsageKey] = USAGE_KEYS,
        most: int | None = None,
    ) -> Sequence[UsageRow]:
        """What was used from one day to another, summed and sorted by these keys. `owner` is the key of an owner, or
        the user in it. With `most`, only so many sums, the greatest first."""


class Memories(Protocol):
    """What graphs remember about their owners beyond a conversation."""

    async def read(self, owner: Owner, places: Collection[Place]) -> Mapping[Place, Memory]:
        """Those of the memories that exist, by namespace and key."""

    async def write(self, owner: Owner, changes: Sequence[MemoryChange], *, response: str | None = None) -> None:
        """Save, replace or delete memories in one transaction, for the run of that response.

        A memory is saved even if it cannot be embedded now. It is embedded later, and found by its words until then.

        Raises:
            MemoryRefused: a memory is too large, its key is not usable, or there are too many memories.
        """

    async def search(self, owner: Owner, sought: MemorySearch) -> Sequence[Memory]:
        """The memories that fit best, best first."""

    async def namespaces(self, owner: Owner) -> Sequence[Namespace]:
        """Every namespace that has a memory, sorted."""

    async def get(self, owner: Owner, memory_id: str) -> Memory:
        """One memory.

        Raises:
            MemoryNotFound: this owner has no such memory.
        """

    async def page(self, owner: Owner, page: Page) -> tuple[Sequence[Memory], bool]:
        """A page of the memories by `created_at`, and whether there are more."""

    async def change(self, owner: Owner, memory_id: str, text: str) -> Memory:
        """Replace the text of a memory.

        Raises:
            MemoryNotFound: this owner has no such memory.
            MemoryRefused: the memory is not a text.
        """

    async def delete(self, owner: Owner, memory_id: str) -> None:
        """Delete a memory.

        Raises:
            MemoryNotFound: this owner has no such memory.
        """

    async def delete_all(self, owner: Owner) -> int:
        """Delete all memories, and return how many there were."""


class Store(Protocol):
    """Everything that outlives a run."""

    @property
    def responses(self) -> ResponseStore:
        """Responses and conversations."""

    @property
    def memories(self) -> Memories:
        """What graphs remember."""

    @property
    def runs(self) -> RunStore:
        """Runs that outlive their connection."""

    @property
    def schedules(self) -> Schedules:
        """Which times of schedules were dealt with."""

    @property
    def deliveries(self) -> Deliveries:
        """Webhooks that have not arrived."""

    @property
    def usage(self) -> UsageStore:
        """Who has used how many tokens."""

    @property
    def signals(self) -> Signals:
        """News between processes."""

    @property
    def may_be_shared(self) -> bool:
        """Whether processes on other machines may use the same store."""

    async def forget(self, owner: Owner) -> Forgotten:
        """Delete everything of an owner in one transaction.

        Raises:
            ConversationBusy: a run of the owner is in progress, unless it waits for a token. Nothing was deleted.
        """

    async def secret(self, name: str, made: bytes) -> bytes:
        """The secret of that name, which all processes of the store share. If there is none, `made` is kept.

        Raises:
            StoreUnavailable: the database does not answer.
        """

    async def open(self) -> None:
        """Connect and bring the schema up to date. Safe if several processes do it at once."""

    def checkpointer(self, right: Right | None = None) -> "BaseCheckpointSaver[Any]":
        """A checkpoint saver for one run. Runs do not share savers, because a saver serializes its calls.

        With `right`, each write compares it in its own transaction, and raises `LeaseLost` if it is lost.
        """

    async def aclose(self) -> None:
        """Close every connection."""
