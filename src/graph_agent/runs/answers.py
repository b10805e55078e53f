"""Reads what a request answers, and decides with what the graph is resumed.

Only approvals that wait after the response that the request follows are ever passed on. Everything else is found out
before the run begins: the same answer again changes nothing, another one is refused, and an unknown one does not exist.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from graph_agent.client_tools import ToolServer
from graph_agent.errors import ApprovalAnswered, ApprovalNotFound, ConversationBusy, InvalidRequest, ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.protocol.approvals import (
    REQUEST,
    RESPONSE,
    Approval,
    Decision,
    decision_of,
    rejection,
    resume_values,
)
from graph_agent.protocol.declared_servers import addresses_in
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.questions import asks
from graph_agent.runs.request import Answers
from graph_agent.stores.records import GivenDecision, StoredApproval, StoredResponse

if TYPE_CHECKING:
    from graph_agent.stores.store import ResponseStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a request answers."""

    answers: Answers | None = None
    """`None`: nothing waits after the response that the request follows."""

    ids: frozenset[str] = frozenset()
    """The ids of the approvals that the graph or its answers take care of. Their items are no messages."""

    resent: frozenset[str] = frozenset()
    """The ids of the approvals that the conversation has already left behind. Their items are not new."""

    repeats: StoredResponse | None = None
    """The response to the same answers, if the request says nothing else."""

    continued_by: StoredResponse | None = None
    """The next response, whose run was resumed with these answers. What the request says besides comes after it."""

    elsewhere: StoredApproval | None = None
    """An approval that is answered and waits after another response of this owner."""

    def covers(self, item: Item) -> bool:
        """Whether the item asks for or answers one of these approvals."""
        return _approval_of(item) in self.ids

    def resends(self, item: Item) -> bool:
        """Whether the item asks for or answers an approval that the conversation has already left behind."""
        return _approval_of(item) in self.resent


def _approval_of(item: Item) -> str | None:
    """The id of the approval that the item may ask for or answer."""
    field_ = {REQUEST: "id", RESPONSE: "approval_request_id", "function_call_output": "call_id"}.get(item["type"])
    return None if field_ is None else item[field_]


@dataclass(slots=True)
class _Given:
    """The decisions of one request."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    repeated: dict[str, StoredApproval] = field(default_factory=dict)


class AnswerReader:
    """Reads answers. Several tasks may use one object."""

    def __init__(self, responses: "ResponseStore", *, rejects_unanswered: bool) -> None:
        self._responses = responses
        self._rejects_unanswered = rejects_unanswered

    async def read(
        self, owner: Owner, parent: StoredResponse | None, items: Sequence[Item], *, start: int, graph: str
    ) -> Reading:
        """What the items from `start` on answer, after `parent`.

        Raises:
            ApprovalNotFound: this owner has no such approval.
            ApprovalAnswered: it was answered with something else.
            ConversationBusy: the run that was resumed with it is in progress.
            InvalidRequest: the graph does not accept the decision.
        """
        new = items[start:]
        asking = await self._asking(owner, parent)
        asked = [] if asking is None or asking.waiting is None else list(map(Approval.read, asking.waiting.approvals))
        answered = [item["approval_request_id"] for item in new if item["type"] == RESPONSE]
        resent = {item["id"] for item in new if item["type"] == REQUEST}
        ids = {one.id for one in asked}.union(answered, resent)
        if not ids:
            return Reading()
        rows = await self._responses.approvals(owner, ids)
        waiting = [one for one in asked if one.id in rows and rows[one.id].used_by is None]
        here = {one.id for one in waiting}
        for one in answered:
            if one in rows and rows[one].used_by is None and one not in here:
                return Reading(elsewhere=rows[one])
        given = _given(items, start, rows, here)
        here_before = {one.id for one in asked}
        past = await self._past(owner, parent, [rows[id_] for id_ in (resent & rows.keys()) - here_before])
        past |= given.repeated.keys() - resent - here_before
        # What was asked elsewhere is history, and history is read as messages.
        rest = Reading(ids=frozenset(rows.keys() - (resent | past)) | (rows.keys() & here_before), resent=past)
        # An answer that was given before is nothing new, wherever it was given. What is before its request is history.
        left = rows.keys() - here_before
        places = [n for n, item in enumerate(new, 1) if item["type"] == REQUEST and item["id"] in left]
        says_more = any(asks(item) and _approval_of(item) not in rows for item in new[max(places, default=0) :])
        if asking is not None and here and asking.graph != graph:
            if given.decisions:
                raise InvalidRequest(f"`model` must be {asking.graph!r}, the graph that asked.", param="model")
            return rest
        if not waiting:
            repeated = given.repeated or _results_of_used(new, rows)
            if says_more:
                return replace(rest, continued_by=await self._continued_by(owner, parent, asked, repeated, rows))
            return replace(rest, repeats=await self._repeated(owner, repeated) if repeated else None)
        return replace(rest, answers=self._answers(waiting, rows, given, says_more))

    async def require_servers(self, owner: Owner, answers: Answers, servers: Sequence[ToolServer]) -> None:
        """Check that the request names the MCP servers of the calls that it lets the graph make, at the addresses of
        the responses that asked. Otherwise the calls would fail, and their approvals would be used up.

        Raises:
            InvalidRequest: a server is missing, or has another address.
        """
        named = {one.label: one.url for one in servers}
        calls = {
            one.id: one.server
            for one in answers.waiting
            if one.server is not None
            and one.interrupt in answers.resume
            and answers.decisions[one.id].kind in ("approve", "edit")
        }
        for label in calls.values():
            if label not in named:
                raise InvalidRequest(
                    f"`tools` lacks the server {label}, for whose call the approval is: send it with this request too, "
                    "its credentials included, because they are not stored.",
                    param="tools",
                )
        asked = await self._addresses(owner, calls)
        for id_, label in calls.items():
            if named[label] != asked[id_].get(label, named[label]):
                raise InvalidRequest(
                    f"`tools` has {label} at another address than the request that led to the call: send that "
                    "`server_url`, or give the other server another label.",
                    param="tools",
                )

    async def _addresses(self, owner: Owner, approvals: Collection[str]) -> dict[str, Mapping[str, str | None]]:
        """By approval, the addresses of the servers in the request whose response asked first. A response that asks
        once more, as not all was decided, may be to a request without servers."""
        rows = await self._responses.approvals(owner, set(approvals)) if approvals else {}
        found: dict[str, Mapping[str, str | None]] = {}
        for id_ in {one.response for one in rows.values()}:
            try:
                found[id_] = addresses_in((await self._responses.get(owner, id_)).response or {})
            except ResponseNotFound:
                # It was deleted. The call itself is compared once more.
                found[id_] = {}
        return {one: found[rows[one].response] if one in rows else {} for one in approvals}

    async def _past(
        self, owner: Owner, parent: StoredResponse | None, approvals: Sequence[StoredApproval]
    ) -> frozenset[str]:
        """Those that were asked up to `parent`: their calls are in its history."""
        if parent is None or not approvals:
            return frozenset()
        lineage = {one.id for one in await self._responses.lineage(owner, parent.id)}
        return frozenset(one.id for one in approvals if one.response in lineage)

    async def _asking(self, owner: Owner, parent: StoredResponse | None) -> StoredResponse | None:
        """The response after which the graph waits."""
        while parent is not None and parent.waiting is None:
            # What follows a checkpoint has left the questions before it behind.
            if parent.checkpoint is not None or parent.parent is None:
                return None
            parent = await self._responses.get(owner, parent.parent)
        return parent

    async def _continued_by(
        self,
        owner: Owner,
        parent: StoredResponse | None,
        asked: Sequence[Approval],
        repeated: Mapping[str, StoredApproval],
        rows: Mapping[str, StoredApproval],
    ) -> StoredResponse | None:
        """The response after `parent` that used what the request answers again.

        If it failed, the client has nothing of it to resend: then it is the one that used any answer to `parent`.
        """
        told = list(repeated.values()) or [rows[one.id] for one in asked if one.id in rows]
        if parent is None or not told or (used_by := told[0].used_by) is None:
            return None
        try:
            later = await self._responses.get(owner, used_by)
        except ResponseNotFound:
            # It was deleted.
            return None
        if later.parent != parent.id or later.is_open:
            return None
        return later if repeated or later.status != "completed" else None

    async def _repeated(self, owner: Owner, repeated: Mapping[str, StoredApproval]) -> StoredResponse:
        used_by = list(repeated.values())[-1].used_by
        assert used_by is not None
        response = await self._responses.get(owner, used_by)
        if response.is_open:
            raise ConversationBusy(
                f"the approval was answered, and response {used_by} is in progress: wait until it has ended",
                running=used_by,
            )
        if response.status != "completed":
            raise ApprovalAnswered(
                f"the approval was answered, and response {used_by} ended {response.status}: go on with a message"
            )
        return response

    def _answers(
        self, waiting: Sequence[Approval], rows: Mapping[str, StoredApproval], given: _Given, says_more: bool
    ) -> Answers:
        decisions = dict(given.decisions)
        for one in waiting:
            stored = rows[one.id].decision
            if one.id not in decisions and stored is not None:
                decisions[one.id] = Decision.read(stored)
            if one.id not in decisions and says_more and self._rejects_unanswered and (no := rejection(one)):
                decisions[one.id] = no
        resume = resume_values(waiting, decisions)
        used = {one.id for one in waiting if one.interrupt in resume}
        return Answers(
            waiting=waiting,
            decisions=decisions,
            resume=resume,
            given=[
                GivenDecision(approval=id_, decision=decision.fields(), used=id_ in used)
                for id_, decision in decisions.items()
                if id_ in used or rows[id_].decision is None
            ],
        )


def _results_of_used(items: Sequence[Item], rows: Mapping[str, StoredApproval]) -> dict[str, StoredApproval]:
    """The approvals of calls whose results the client sends back, although it was the graph that made the calls."""
    ids = [item["call_id"] for item in items if item["type"] == "function_call_output"]
    return {one: rows[one] for one in ids if one in rows and rows[one].used_by is not None}


def _given(items: Sequence[Item], start: int, rows: Mapping[str, StoredApproval], here: set[str]) -> _Given:
    given = _Given()
    resent = {item["id"] for item in items if item["type"] == REQUEST}
    for index, item in enumerate(items[start:], start):
        if item["type"] != RESPONSE:
            continue
        path, id_ = f"input[{index}]", item["approval_request_id"]
        row = rows.get(id_)
        if row is None:
            # A history from elsewhere has both the request and the response.
            if id_ in resent:
                continue
            raise ApprovalNotFound(
                "there is no such approval: its response was not stored or was deleted, or its id is wrong",
                param=f"{path}.approval_request_id",
            )
        decision = decision_of(item, path, Approval.read(row.approval))
        before = given.decisions.get(id_) or (None if row.decision is None else Decision.read(row.decision))
        if before is not None and before.fields() != decision.fields():
            raise ApprovalAnswered(
                f"`{path}` answers an approval that was answered with something else before",
                param=f"{path}.approval_request_id",
            )
        if id_ in here:
            given.decisions[id_] = decision
        else:
            given.repeated[id_] = row
    return given
