"""Messages on their way: signed, tried again, given up, and never sent by two processes at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import OpenAI
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from tests.stores.accepted import Accepted
from tests.stores.conftest import (  # noqa: F401
    StoreOf,
    clock,
    postgres_store_of,
    running_postgres,
    sqlite_store_of,
    store_of,
)
from tests.stores.turns import Clock
from tests.webhooks.receiving import OLDER, SECRET, Message, Receiver, receiving

from graph_agent.errors import StoreUnavailable
from graph_agent.stores.records import ResponseStatus
from graph_agent.stores.sqlite_store import MemoryStore
from graph_agent.webhooks import deliverer, sending
from graph_agent.webhooks.deliverer import Deliverer
from graph_agent.webhooks.signatures import key_of
from graph_agent.webhooks.targets import Target

pytestmark = pytest.mark.anyio

SOON = (0.02,) * 7


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
async def store() -> AsyncIterator[Any]:
    made = MemoryStore()
    await made.open()
    yield made
    await made.aclose()


class Sending:
    """A process that sends what is due."""

    def __init__(self, store: Any, *targets: Target, **options: Any) -> None:
        async def opened() -> Any:
            return store

        self.store = store
        self.deliverer = Deliverer(
            {one.name: one for one in targets}, store=opened, **{"delays": SOON, "shares": True} | options
        )

    async def __aenter__(self) -> "Sending":
        self.deliverer.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.deliverer.aclose()


def target(receiver: Receiver, name: str = "here", **changes: Any) -> Target:
    made = Target(name=name, url=receiver.url, keys=(key_of(SECRET),), on_loopback=True)
    return replace(made, **changes)


async def ended(
    store: Any, response: str = "resp_1", status: ResponseStatus = "completed", webhook: str = "here"
) -> None:
    runs = Accepted(store, Clock())
    await runs.finish(await runs.run(response, webhook=webhook), status=status)


async def got(receiver: Receiver, count: int) -> list[Message]:
    return await asyncio.to_thread(receiver.got, count)


async def nothing_left(store: Any, *names: str) -> None:
    async with asyncio.timeout(20):
        while await store.deliveries.due_in(names or ("here",)) is not None:  # noqa: ASYNC110 - of the store
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("status", ["completed", "failed", "incomplete", "cancelled"])
async def test_a_message_is_what_the_openai_sdk_and_standard_webhooks_expect(
    store: Any, receiver: Receiver, status: ResponseStatus
) -> None:
    await ended(store, status=status)
    async with Sending(store, target(receiver)):
        [message] = await got(receiver, 1)
        await nothing_left(store)
    assert Webhook(SECRET).verify(message.body, message.headers) == message.event
    with pytest.raises(WebhookVerificationError):
        Webhook(OLDER).verify(message.body, message.headers)
    with OpenAI(api_key="none", webhook_secret=SECRET) as client:
        event = client.webhooks.unwrap(message.body, message.headers)
    assert (event.type, event.data.id, event.id) == (f"response.{status}", "resp_1", message.id)
    assert set(message.event) == {"id", "object", "type", "created_at", "timestamp", "data"}
    assert message.event["data"] == {"id": "resp_1"}
    assert (message.headers["content-type"], message.headers["user-agent"]) == ("application/json", "graph-agent")


async def test_while_a_secret_is_replaced_both_are_accepted(store: Any, receiver: Receiver) -> None:
    await ended(store)
    async with Sending(store, target(receiver, keys=(key_of(SECRET), key_of(OLDER)))):
        [message] = await got(receiver, 1)
    for secret in (SECRET, OLDER):
        Webhook(secret).verify(message.body, message.headers)
    assert len(message.headers["webhook-signature"].split()) == 2


async def test_a_failure_is_tried_again_with_the_same_id_and_a_new_signature(
    store: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graph_agent")
    receiver.answers = [(500, {}), (301, {"location": receiver.url}), (404, {})]
    await ended(store)
    async with Sending(store, target(receiver)):
        messages = await got(receiver, 4)
        await nothing_left(store)
    assert len(receiver.messages) == 4
    assert len({one.id for one in messages}) == 1
    assert {one.body for one in messages} == {messages[0].body}
    for one in messages:
        Webhook(SECRET).verify(one.body, one.headers)
    assert "did not arrive (try 2)" in caplog.text
    assert "status 301" in caplog.text
    assert "has arrived (try 4)" in caplog.text
    assert "planted-in-the-url" not in caplog.text
    assert SECRET not in caplog.text


async def test_a_receiver_that_wants_no_more_is_not_asked_again(
    store: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [(410, {})]
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
        await nothing_left(store)
    assert "given up: the receiver wants no more" in caplog.text
    assert len(receiver.messages) == 1


async def test_after_the_last_try_a_message_is_given_up_and_the_log_says_so(
    store: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [(503, {})] * 20
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 8)
        await nothing_left(store)
    assert len(receiver.messages) == 8
    assert "is given up after 8 tries: status 503" in caplog.text


@pytest.mark.parametrize("value", ["300", "Fri, 01 Jan 2100 00:00:00 GMT", "1e9"])
async def test_a_receiver_that_asks_to_wait_is_not_asked_earlier_and_at_the_latest_after_a_day(
    store: Any, receiver: Receiver, value: str
) -> None:
    receiver.answers = [(429, {"retry-after": value})]
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
        async with asyncio.timeout(20):
            # Until it is known what came of it, it is due in a minute.
            while 50 < (due := await store.deliveries.due_in(["here"])) <= 60:  # noqa: ASYNC110 - of the store
                await asyncio.sleep(0.01)
    assert 290 < due <= 300 if value == "300" else 86_000 < due <= 86_400
    assert len(receiver.messages) == 1


async def test_a_message_that_is_a_day_old_is_given_up(
    store: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "MOST_SECONDS", 0.0)
    receiver.answers = [(500, {})]
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
        await nothing_left(store)
    assert len(receiver.messages) == 1


async def test_a_target_is_told_only_what_it_wants_to_know(store: Any, receiver: Receiver) -> None:
    await ended(store, "resp_1", "completed")
    await ended(store, "resp_2", "failed")
    async with Sending(store, target(receiver, events=frozenset({"response.failed"}))):
        await got(receiver, 1)
        await nothing_left(store)
    assert [one.event["data"]["id"] for one in receiver.messages] == ["resp_2"]


async def test_a_body_without_an_end_is_not_read(store: Any, receiver: Receiver) -> None:
    receiver.answers = [(200, {"content-length": "1000000000000"})]
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
        await nothing_left(store)


async def test_a_receiver_that_says_nothing_is_left_and_does_not_hold_up_another(
    store: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_SECONDS", 0.5)
    with receiving() as other:
        held = asyncio.Event()
        loop = asyncio.get_running_loop()
        receiver.before_answer = lambda: asyncio.run_coroutine_threadsafe(held.wait(), loop).result(10)
        for number in range(deliverer.PER_TARGET + 1):
            await ended(store, f"resp_{number}")
        await ended(store, "resp_other", webhook="other")
        async with Sending(store, target(receiver), target(other, "other"), delays=(60.0,) * 7):
            await got(other, 1)
            assert len(receiver.messages) <= deliverer.PER_TARGET
            # The places of those that got no answer are free again.
            await got(receiver, deliverer.PER_TARGET + 1)
            held.set()
            async with asyncio.timeout(20):
                while not 40 < (await store.deliveries.due_in(["here"]) or 0) <= 72:  # noqa: ASYNC110 - of the store
                    await asyncio.sleep(0.01)


async def test_nobody_listens_at_the_address(store: Any, caplog: pytest.LogCaptureFixture) -> None:
    with receiving() as gone:
        pass
    await ended(store)
    async with Sending(store, target(gone), delays=()):
        await nothing_left(store)
    assert "is given up after 1 tries: ConnectError" in caplog.text
    assert "planted-in-the-url" not in caplog.text


async def test_each_of_many_messages_is_sent_once_by_one_of_three_processes(
    store_of: StoreOf,  # noqa: F811
    receiver: Receiver,
) -> None:
    stores = [store_of() for _ in range(3)]
    for one in stores:
        await one.open()
    first, second, third = (Sending(one, target(receiver)) for one in stores)
    async with first, second, third:
        for number in range(12):
            await ended(stores[number % 3], f"resp_{number}")
        await got(receiver, 12)
        await nothing_left(stores[0])
    assert len(receiver.messages) == 12
    assert len({one.id for one in receiver.messages}) == 12
    for one in stores:
        await one.aclose()


async def test_what_a_process_was_sending_when_it_stopped_is_sent_by_the_next_one_at_once(
    store: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "ENDING_SECONDS", 0.05)
    held = asyncio.Event()
    loop = asyncio.get_running_loop()
    receiver.before_answer = lambda: asyncio.run_coroutine_threadsafe(held.wait(), loop).result(10)
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
    held.set()
    async with Sending(store, target(receiver)):
        first, second = await got(receiver, 2)
        await nothing_left(store)
    assert first.id == second.id


async def test_sending_goes_on_after_the_database_was_away(
    store: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "LOOK_SECONDS", 0.02)
    faults = 3
    claim = store.deliveries.claim

    async def faulty(*arguments: Any, **options: Any) -> Any:
        nonlocal faults
        faults -= 1
        if faults >= 0:
            raise StoreUnavailable("the database does not answer") if faults % 2 else RuntimeError("hunter2")
        return await claim(*arguments, **options)

    monkeypatch.setattr(store.deliveries, "claim", faulty)
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
        await nothing_left(store)
    assert faults < 0


async def test_no_cookie_of_a_receiver_is_kept(store: Any, receiver: Receiver) -> None:
    receiver.answers = [(500, {"set-cookie": "session=1"})]
    await ended(store)
    async with Sending(store, target(receiver)):
        messages = await got(receiver, 2)
    assert not any("cookie" in one.headers for one in messages)


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    store: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert httpx.AsyncClient()._mounts
    await ended(store)
    async with Sending(store, target(receiver)):
        await got(receiver, 1)
