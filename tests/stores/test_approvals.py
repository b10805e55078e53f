"""Approvals in every store: what was asked, what was decided, and that each decision is used once."""

import asyncio
from typing import Any

import pytest
from tests.stores.turns import ANN, BOB, LEASE, Clock, Turns, response_object

from graph_agent.errors import ApprovalAnswered
from graph_agent.stores.records import (
    Continuation,
    EndedResponse,
    GivenDecision,
    NewResponse,
    ResponseStatus,
    StoredApproval,
    Waiting,
)
from graph_agent.stores.store import Store

pytestmark = pytest.mark.anyio

YES: dict[str, Any] = {"kind": "approve", "arguments": None, "text": None}
NO: dict[str, Any] = {"kind": "reject", "arguments": None, "text": "no"}


class Desk:
    """A conversation in which `resp_1` has asked for two approvals."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.responses, self.clock = store.responses, clock
        self.turns = Turns(store, clock)

    async def ask(self) -> None:
        await self.turns.begin("resp_1")
        waiting = Waiting(approvals=[{"id": "mcpr_1", "name": "send"}, {"id": "mcpr_2", "name": "delete"}])
        await self.end("resp_1", checkpoint="c1", waiting=waiting)

    async def answer(self, id_: str, *given: tuple[str, dict[str, Any]], used: bool = True) -> None:
        """Begin a run that brings these decisions."""
        at = Continuation(conversation="conv_1", thread=self.turns.thread, parent="resp_1")
        decisions = [GivenDecision(approval=one, decision=decision, used=used) for one, decision in given]
        new = NewResponse(
            id=id_, continuation=at, graph="g", family="openai", created_at=1.0, input=[], decisions=decisions
        )
        await self.responses.begin(ANN, new, busy_until=self.clock() + LEASE)

    async def end(
        self, id_: str, status: ResponseStatus = "completed", checkpoint: str | None = None, **more: Any
    ) -> None:
        ended = EndedResponse(
            status=status, response=response_object(id_, status=status), checkpoint=checkpoint, **more
        )
        await self.responses.finish(ANN, id_, ended)

    async def approvals(self) -> dict[str, StoredApproval]:
        return dict(await self.responses.approvals(ANN, ["mcpr_1", "mcpr_2", "mcpr_3"]))


@pytest.fixture
async def desk(store: Store, clock: Clock) -> Desk:
    made = Desk(store, clock)
    await made.ask()
    return made


async def test_what_a_response_waits_for_is_kept_with_it(desk: Desk) -> None:
    response = await desk.responses.get(ANN, "resp_1")
    assert response.waiting == Waiting(
        approvals=[{"id": "mcpr_1", "name": "send"}, {"id": "mcpr_2", "name": "delete"}], unread=False
    )
    found = await desk.approvals()
    assert list(found) == ["mcpr_1", "mcpr_2"]
    assert found["mcpr_1"] == StoredApproval(
        id="mcpr_1", conversation="conv_1", response="resp_1", approval={"id": "mcpr_1", "name": "send"}
    )


async def test_a_stranger_finds_no_approval(desk: Desk) -> None:
    assert await desk.responses.approvals(BOB, ["mcpr_1"]) == {}


async def test_a_decision_that_a_run_uses_cannot_be_given_again(desk: Desk) -> None:
    await desk.answer("resp_2", ("mcpr_1", YES))
    await desk.end("resp_2", checkpoint="c2")
    found = (await desk.approvals())["mcpr_1"]
    assert (found.decision, found.used_by) == (YES, "resp_2")
    for decision in (YES, NO):
        with pytest.raises(ApprovalAnswered):
            await desk.answer("resp_3", ("mcpr_1", decision))
    # Nothing of the refused request is left, and the conversation is free.
    await desk.answer("resp_4", ("mcpr_2", YES))


async def test_a_decision_is_kept_until_the_others_are_there(desk: Desk) -> None:
    await desk.answer("resp_2", ("mcpr_1", NO), used=False)
    await desk.end("resp_2", waiting=Waiting(approvals=[{"id": "mcpr_1"}, {"id": "mcpr_2"}], unread=True))
    assert (await desk.approvals())["mcpr_1"].decision == NO
    assert (await desk.responses.get(ANN, "resp_2")).waiting == Waiting(
        approvals=[{"id": "mcpr_1"}, {"id": "mcpr_2"}], unread=True
    )
    with pytest.raises(ApprovalAnswered):
        await desk.answer("resp_3", ("mcpr_1", YES), ("mcpr_2", YES))
    await desk.answer("resp_3", ("mcpr_1", NO), ("mcpr_2", YES))
    await desk.end("resp_3", checkpoint="c3")
    assert {one.used_by for one in (await desk.approvals()).values()} == {"resp_3"}


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
async def test_a_run_without_effect_gives_its_decisions_back(desk: Desk, status: ResponseStatus) -> None:
    await desk.answer("resp_2", ("mcpr_1", YES), used=False)
    await desk.end("resp_2")
    await desk.answer("resp_3", ("mcpr_1", YES), ("mcpr_2", YES))
    await desk.end("resp_3", status=status)
    found = await desk.approvals()
    assert (found["mcpr_1"].decision, found["mcpr_1"].used_by) == (YES, None)
    assert (found["mcpr_2"].decision, found["mcpr_2"].used_by) == (None, None)
    await desk.answer("resp_4", ("mcpr_1", YES), ("mcpr_2", NO))


async def test_a_lost_run_gives_its_decisions_back(desk: Desk) -> None:
    await desk.answer("resp_2", ("mcpr_1", YES))
    assert (await desk.approvals())["mcpr_1"].used_by == "resp_2"
    desk.clock.now += LEASE + 1
    assert (await desk.approvals())["mcpr_1"].used_by is None
    await desk.answer("resp_3", ("mcpr_1", NO))
    assert (await desk.approvals())["mcpr_1"].used_by == "resp_3"


async def test_a_failed_run_that_wrote_a_checkpoint_has_used_its_decisions(desk: Desk) -> None:
    await desk.answer("resp_2", ("mcpr_1", YES))
    await desk.end("resp_2", status="failed", checkpoint="c2")
    assert (await desk.approvals())["mcpr_1"].used_by == "resp_2"


async def test_of_many_answers_at_once_one_is_used(desk: Desk) -> None:
    async def one(number: int) -> None:
        await desk.answer(f"resp_{number}", ("mcpr_1", YES))
        await desk.end(f"resp_{number}", checkpoint=f"c{number}")

    told = await asyncio.gather(*(one(number) for number in range(10, 18)), return_exceptions=True)
    assert [one for one in told if one is None] == [None]


async def test_approvals_go_with_their_response_and_their_conversation(desk: Desk) -> None:
    await desk.answer("resp_2", ("mcpr_1", YES), used=False)
    await desk.end("resp_2")
    await desk.responses.delete(ANN, "resp_1")
    assert await desk.approvals() == {}
    other = Desk.__new__(Desk)
    other.__dict__.update(desk.__dict__)
    await desk.responses.delete_conversation(ANN, "conv_1")
    other.turns.known = False
    await other.ask()
    await desk.responses.delete_conversation(ANN, "conv_1")
    assert await desk.approvals() == {}
