"""Compaction: a long history becomes a summary before the graph runs, and a sealed item that stands for it."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import anyio
import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.graph import MessagesState
from tests.runs.background import Nodes, Process, check_log, events_of, record_when_ended
from tests.runs.registered import BOB, some_runs
from tests.runs.running import chain
from tests.runs.stored import Chat, texts

from graph_agent.contract import AgentState
from graph_agent.errors import InvalidEncryptedContent, ModelRateLimited
from graph_agent.runs.compacting import Compaction
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.testing import ScriptedChatModel, Usage, Wait

pytestmark = pytest.mark.anyio

LONG = "long " * 1_000
ASKS = [{"type": "compaction", "compact_threshold": 1_000}]


class AddingState(TypedDict):
    messages: Annotated[list[Any], operator.add]


class PlainState(TypedDict):
    messages: list[Any]


async def report(state: Any) -> dict[str, Any]:
    """Says what it has read."""
    return {"messages": [AIMessage(" | ".join(_short(one) for one in state["messages"]))]}


async def report_all(state: Any) -> dict[str, Any]:
    """The same for a state without a reducer."""
    return {"messages": [*state["messages"], *(await report(state))["messages"]]}


def _short(message: BaseMessage) -> str:
    return "ai" if message.type == "ai" else f"{message.type}: {message.text.splitlines()[-1][:40].strip()}"


class Summarizer:
    """Summarizes as it is told, and keeps what it was asked."""

    def __init__(self, *replies: Any) -> None:
        self.asked: list[str] = []
        self._replies = list(replies) or ["They talked at length.", "They talked on."]

    def compaction(self, *secrets: str) -> Compaction:
        return Compaction(secrets, model_of=lambda name: ScriptedChatModel(self._reply))

    def _reply(self, messages: Any) -> Any:
        self.asked.append(messages[-1].text)
        return self._replies.pop(0)


def talking(graph: Any, store: Any, *, summarizer: Summarizer | None = None, **options: Any) -> Chat:
    return Chat(graph, store, runs=some_runs(compaction=(summarizer or Summarizer()).compaction()), **options)


def compactions(events: list[Any]) -> list[Any]:
    return [one for one in events[-1]["response"]["output"] if one["type"] == "compaction"]


@pytest.mark.parametrize(
    ("state", "node"),
    [(MessagesState, report), (AgentState, report), (AddingState, report), (PlainState, report_all)],
)
async def test_a_long_history_becomes_a_summary_and_the_newest_turn(state: Any, node: Any, store: MemoryStore) -> None:
    summarizer = Summarizer([Usage(40, 7), "They talked at length."])
    chat = talking(chain(node, state=state), store, summarizer=summarizer)
    with anyio.fail_after(20):
        await chat.say(LONG)
        first = chat.last
        events = await chat.say("and now?", context_management=ASKS)
        (item,) = compactions(events)
        assert [one["type"] for one in events[-1]["response"]["output"]] == ["compaction", "message"]
        told = [one["type"] for one in events if one.get("item", {}).get("type") == "compaction"]
        assert told == ["response.output_item.added", "response.output_item.done"]
        assert texts(events) == ["human: They talked at length. | human: and now?"]
        assert events[-1]["response"]["usage"]["total_tokens"] == 47
        assert [one.type for one in await chat.state()] == ["human", "human", "ai"]
        assert (await chat.state())[0].id == item["id"]
        # The next turn goes on from there, and an earlier response with all that was said.
        events = await chat.say("go on")
        assert texts(events) == ["human: They talked at length. | human: and now? | ai | human: go on"]
        # So does another process, which has nothing of it in memory.
        other = talking(chat.graph, store)
        [told] = texts(await other.say("on", after=chat.last))
        assert told == "human: They talked at length. | human: and now? | ai | human: go on | ai | human: on"
        assert texts(await chat.say("else?", after=first))[0].startswith("human: long")
    assert LONG.strip() in summarizer.asked[0]
    assert "and now?" not in summarizer.asked[0]


async def test_a_history_within_the_threshold_stays_as_it_is(store: MemoryStore) -> None:
    summarizer = Summarizer()
    chat = talking(chain(report), store, summarizer=summarizer)
    with anyio.fail_after(20):
        await chat.say("short")
        events = await chat.say("and now?", context_management=ASKS)
    assert not compactions(events)
    assert not summarizer.asked


async def test_a_first_turn_is_not_summarized_however_long_it_is(store: MemoryStore) -> None:
    summarizer = Summarizer()
    chat = talking(chain(report), store, summarizer=summarizer)
    with anyio.fail_after(20):
        events = await chat.say(LONG, context_management=ASKS)
    assert not compactions(events)
    assert not summarizer.asked


async def test_a_summary_becomes_part_of_the_next_one(store: MemoryStore) -> None:
    summarizer = Summarizer("Ann likes tea.", "Ann likes tea and cake.")
    chat = talking(chain(report, state=AgentState), store, summarizer=summarizer)
    with anyio.fail_after(20):
        await chat.say(LONG)
        await chat.say(LONG, context_management=ASKS)
        events = await chat.say("and now?", context_management=ASKS)
    assert "Summary of what came before: Ann likes tea." in summarizer.asked[1]
    assert texts(events) == ["human: Ann likes tea and cake. | human: and now?"]


async def test_instructions_and_words_of_operators_are_not_summarized(store: MemoryStore) -> None:
    summarizer = Summarizer()
    chat = talking(chain(report, state=AgentState), store, summarizer=summarizer)
    said = [{"role": "system", "content": "Speak French."}, {"role": "user", "content": LONG}]
    with anyio.fail_after(20):
        await chat.say(said, instructions="Be old.")
        events = await chat.say("and now?", instructions="Be new.", context_management=ASKS)
        assert texts(events) == [
            "system: Be new. | system: Speak French. | human: They talked at length. | human: and now?"
        ]
        item = compactions(events)
        events = await chat.say([*item, {"role": "user", "content": "hi"}], store=False)
    assert texts(events) == ["system: Speak French. | human: They talked at length. | human: and now? | ai | human: hi"]
    assert "Operator:" not in summarizer.asked[0]


@pytest.mark.parametrize("prunes", [True, False])
@pytest.mark.parametrize("stored", [True, False])
async def test_a_client_resends_its_output_and_may_drop_what_came_before(
    prunes: bool, stored: bool, store: MemoryStore
) -> None:
    chat = talking(chain(report, state=AgentState), store)
    items: list[Any] = [{"role": "user", "content": LONG}]
    with anyio.fail_after(20):
        for question in ("and now?", "then?"):
            chat.last = None
            events = await chat.say(items, store=stored, context_management=ASKS)
            items += [*events[-1]["response"]["output"], {"role": "user", "content": question}]
            if prunes:
                found = [n for n, one in enumerate(items) if one.get("type") == "compaction"]
                items = items[found[-1] :] if found else items
        chat.last = None
        events = await chat.say(items, store=stored)
    assert texts(events) == ["human: They talked at length. | human: and now? | ai | human: then?"]


async def test_calls_stay_with_their_results(store: MemoryStore) -> None:
    summarizer = Summarizer()
    chat = talking(chain(report), store, summarizer=summarizer)
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": "it"}'}
    result = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
    said = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "Yes."}]
    with anyio.fail_after(20):
        events = await chat.say(
            [*said, {"role": "user", "content": "look"}, call, result], store=False, context_management=ASKS
        )
        assert texts(events) == ["human: They talked at length. | human: look | ai | tool: seen"]
        again, chat.last = [*compactions(events), {"role": "user", "content": "hi"}], None
        events = await chat.say(again, store=False)
    assert texts(events) == ["human: They talked at length. | human: look | ai | tool: seen | human: hi"]


async def test_a_compaction_in_a_stored_conversation_takes_the_place_of_its_history(store: MemoryStore) -> None:
    chat = talking(chain(report, state=AgentState), store)
    with anyio.fail_after(20):
        await chat.say(LONG)
        (item,) = compactions(await chat.say("and now?", context_management=ASKS))
        await chat.say("something else")
        events = await chat.say([item, {"role": "user", "content": "hi"}])
    assert texts(events) == ["human: They talked at length. | human: and now? | human: hi"]


@pytest.mark.parametrize("place", [0, 20, -5, -3])
async def test_a_sealed_item_that_was_changed_is_refused_by_its_place(place: int, store: MemoryStore) -> None:
    chat = talking(chain(report), store)
    with anyio.fail_after(20):
        await chat.say(LONG)
        (item,) = compactions(await chat.say("and now?", context_management=ASKS))
        sealed = item["encrypted_content"]
        other = "B" if sealed[place] != "B" else "C"
        end = sealed[place + 1 :] if place + 1 else ""
        changed = {**item, "encrypted_content": f"{sealed[:place]}{other}{end}"}
        hi = {"role": "user", "content": "hi"}
        with pytest.raises(InvalidEncryptedContent) as refused:
            await chat.say([hi, changed, hi], store=False)
    assert refused.value.param == "input[1].encrypted_content"


async def test_only_its_owner_can_use_a_sealed_item(store: MemoryStore) -> None:
    chat = talking(chain(report), store)
    with anyio.fail_after(20):
        await chat.say(LONG)
        item = compactions(await chat.say("and now?", context_management=ASKS))
        other = Chat(chat.graph, store, runs=chat.runs, owner=BOB)
        for stored in (True, False):
            with pytest.raises(InvalidEncryptedContent):
                await other.say([*item, {"role": "user", "content": "hi"}], store=stored)


async def test_a_key_is_replaced_in_two_steps(store: MemoryStore) -> None:
    old, new = "o" * 32, "n" * 32
    graph = chain(report)

    def keyed(*keys: str) -> Chat:
        return Chat(graph, store, runs=some_runs(compaction=Summarizer().compaction(*keys)))

    with anyio.fail_after(20):
        chat = keyed(old)
        await chat.say(LONG)
        item = compactions(await chat.say("and now?", context_management=ASKS))
        asked = [*item, {"role": "user", "content": "hi"}]
        assert "They talked" in texts(await keyed(new, old).say(asked, store=False))[0]
        with pytest.raises(InvalidEncryptedContent):
            await keyed(new).say(asked, store=False)


async def test_a_stored_conversation_is_read_as_a_whole_when_its_key_is_gone(store: MemoryStore) -> None:
    graph = chain(report_all, state=PlainState)
    chat = Chat(graph, store, runs=some_runs(compaction=Summarizer().compaction("o" * 32)))
    with anyio.fail_after(20):
        await chat.say(LONG)
        await chat.say("and now?", context_management=ASKS)
        last = chat.last
        for key, begins in (("o" * 32, "human: They talked"), ("n" * 32, "human: long")):
            later = Chat(graph, store, runs=some_runs(compaction=Summarizer().compaction(key)))
            # Not stored: it reads the items and not the state.
            events = await later.say("hi", after=last, store=False)
            assert texts(events)[0].startswith(begins)


@pytest.mark.parametrize(
    ("reply", "code"),
    [("", "compaction_failed"), (ModelRateLimited("slow down"), "model_rate_limited"), (OSError("pw"), "model_failed")],
)
async def test_a_summary_that_fails_is_the_end_of_the_response(reply: Any, code: str, store: MemoryStore) -> None:
    chat = talking(chain(report), store, summarizer=Summarizer(reply, "They talked."))
    with anyio.fail_after(20):
        await chat.say(LONG)
        first = chat.last
        events = await chat.say("and now?", context_management=ASKS)
        assert events[-1]["type"] == "response.failed"
        assert events[-1]["response"]["error"]["code"] == code
        assert "pw" not in str(events)
        assert texts(await chat.say("again?", after=first, context_management=ASKS))


async def test_a_long_history_is_summarized_in_parts(store: MemoryStore) -> None:
    summarizer = Summarizer("One.", "Two.", "Three.")
    chat = talking(chain(report), store, summarizer=summarizer)
    with anyio.fail_after(20):
        for _ in range(12):
            await chat.say("x" * 7_000)
        events = await chat.say("and now?", context_management=ASKS)
    assert ["x" * 6_000 in asked for asked in summarizer.asked] == [True, True, True]
    assert ["One." in asked for asked in summarizer.asked] == [False, True, False]
    assert texts(events) == ["human: Three. | human: and now?"]


async def test_what_stays_word_by_word_may_hold_any_value(store: MemoryStore) -> None:
    async def odd(state: Any) -> dict[str, Any]:
        call = {"name": "look", "args": {"at": 2**70}, "id": "c1"}
        seen = ToolMessage("half of \ud83d", tool_call_id="c1", name="look")
        return {"messages": [AIMessage("", tool_calls=[call]), seen, *(await report(state))["messages"]]}

    summarizer = Summarizer()
    chat = talking(chain(odd), store, summarizer=summarizer)
    part = {"type": "input_text", "text": "and now?", "more": 2**70}
    with anyio.fail_after(20):
        await chat.say(LONG)
        turn = [{"role": "user", "content": [part]}]
        (item,) = compactions(await chat.say(turn, context_management=ASKS))
        chat.last = None
        events = await chat.say([item, {"role": "user", "content": "hi"}], store=False)
    assert texts(events)[-1] == "human: They talked at length. | human: and now? | human: hi"
    # What a model is asked can be sent: half of a surrogate pair could not.
    assert b"half of" in summarizer.asked[0].encode()


@pytest.mark.parametrize("held", ["summary", "one", "three"])
async def test_another_process_goes_on_with_a_compacted_run(held: str, store: MemoryStore) -> None:
    nodes, at = Nodes(), asyncio.Event()
    summarizers = [Summarizer([*([Wait(reached=at)] if held == "summary" else []), "They talked."]), Summarizer()]
    first, second = [Process(store, nodes.graph(), compaction=one.compaction()) for one in summarizers]
    chat = Chat(nodes.graph(), store)
    try:
        with anyio.fail_after(30):
            await chat.say(LONG)
            if held != "summary":
                nodes.hold(held)
                at = nodes.at[held]
                at.clear()
            response_id = await first.begin().submit("and now?", chat=chat, context_management=ASKS)
            await at.wait()
            await first.kill()
            nodes.open()
            second.begin()
            record = await record_when_ended(store, response_id)
            check_log(await events_of(store, response_id), record)
    finally:
        await first.aclose()
        await second.aclose()
    assert [one["type"] for one in record.response["output"]] == ["compaction", "message", "message", "message"]
    # A summary that a checkpoint has is not made again.
    assert [len(one.asked) for one in summarizers] == ([1, 1] if held == "summary" else [1, 0])
    chat.last = response_id
    state = await chat.state()
    assert [one.type for one in state] == ["human", "human", "ai", "ai", "ai"]
    assert state[0].id == record.response["output"][0]["id"]
