"""Streams of stored responses are joined over real sockets, by hand and with the official OpenAI SDK."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from openai import AsyncOpenAI
from tests.serving.conftest import Service, Upstream, ask, leave
from tests.serving.joining import Joined, begun, joined
from tests.serving.test_process import ready
from tests.serving.test_requests import check_error

pytestmark = pytest.mark.anyio

PREFIXES = ["", "/api", "/v1"]


async def next_word(upstream: Upstream, number: int) -> None:
    upstream.say(f"word{number} ")
    await asyncio.sleep(0.02)


# -- coming back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_client_that_drops_every_few_events_sees_exactly_what_one_sees_that_never_drops(
    service: Service, upstream: Upstream, prefix: str
) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            id_ = await begun(service, upstream, address=f"{prefix}/responses")
            address = f"{prefix}/responses/{id_}?stream=true"
            steady = asyncio.create_task(joined(client, address))

            async def speak() -> None:
                for number in range(40):
                    await next_word(upstream, number)
                upstream.end()

            speaking = asyncio.create_task(speak())
            dropping, connections = Joined(), 0
            while not dropping.done:
                connections += 1
                if not dropping.numbers:
                    await joined(client, address, dropping, most=3)
                elif connections % 2:
                    # As a browser comes back: at the address that it was given, with the header.
                    came = dropping.frames[-1].id or ""
                    await joined(client, f"{address}&starting_after=0", dropping, most=3, last_event_id=came)
                else:
                    await joined(client, f"{address}&starting_after={dropping.numbers[-1]}", dropping, most=3)
            await speaking
            whole = await steady
    assert connections > 10
    assert dropping.frames == whole.frames
    assert whole.numbers == [*range(len(whole.frames))]
    assert [one.id for one in whole.frames] == [str(number) for number in whole.numbers]
    assert whole.text.count("word") == 40
    assert whole.events[-1]["type"] == "response.completed"


async def test_the_sdk_of_openai_goes_on_with_a_stream_that_broke_off(service: Service, upstream: Upstream) -> None:
    async with AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as sdk:
        with anyio.fail_after(20):
            stream = await sdk.responses.create(
                model="upstream",
                input="Hi",
                stream=True,
                extra_body={"custom_inputs": {"upstream": upstream.url}},
            )
            seen: list[Any] = []
            upstream.say("One ")
            async for event in stream:
                seen.append(event)
                if event.type == "response.output_text.delta":
                    break
            await stream.close()
            upstream.say("two.")
            upstream.end()
            id_ = seen[0].response.id
            rest = await sdk.responses.retrieve(id_, stream=True, starting_after=seen[-1].sequence_number)
            seen += [event async for event in rest]
            again = [event async for event in await sdk.responses.retrieve(id_, stream=True)]
            response = await sdk.responses.retrieve(id_)
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    assert "".join(event.delta for event in seen if event.type == "response.output_text.delta") == "One two."
    assert seen[-1].response == response
    assert again == seen


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_response_that_has_ended_is_told_again_from_any_event(service: Service, prefix: str) -> None:
    async with service.client() as client:
        made = await client.post(f"{prefix}/responses", json={"model": "team", "input": "Weather?", "stream": True})
        first = Joined()
        await first.read(_lines(made.text))
        address = f"{prefix}/responses/{first.events[0]['response']['id']}"
        again = await joined(client, f"{address}?stream=true&include_obfuscation=false")
        assert again.events == first.events
        assert (await joined(client, f"{address}?stream=true&starting_after=3")).events == first.events[4:]
        nothing = await joined(client, f"{address}?stream=true&starting_after={len(first.events) - 1}")
        assert (nothing.frames, nothing.done) == ([], True)
        assert (await joined(client, f"{address}?stream=true&starting_after=999999999")).frames == []


async def test_only_streams_that_can_be_joined_number_their_frames(service: Service) -> None:
    async with service.client() as client:
        for address, fields, numbered in (
            ("/v1/responses", {}, True),
            ("/v1/responses", {"store": False}, False),
            ("/responses", {}, False),
            ("/invocations", {}, False),
        ):
            body = {"model": "plain", "input": "Hi", "stream": True, **fields}
            read = Joined()
            await read.read(_lines((await client.post(address, json=body)).text))
            expected = [str(one) for one in read.numbers] if numbered else [None] * len(read.frames)
            assert [one.id for one in read.frames] == expected, address


async def test_a_whole_answer_can_be_watched_while_its_caller_waits(service: Service, upstream: Upstream) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            _, writer = await ask(service, upstream, context={"conversation_id": "watched"})
            (watched,) = (await client.get("/conversations/watched/responses")).json()["data"]
            watching = asyncio.create_task(joined(client, f"/responses/{watched['id']}?stream=true"))
            upstream.say("Seen.")
            upstream.end()
            seen = await watching
            await leave(writer)
    assert seen.events[-1]["response"]["output"][0]["content"][0]["text"] == "Seen."


# -- what is refused ------------------------------------------------------------------------------------------------


async def test_a_wrong_place_in_the_stream_is_refused_by_name(service: Service) -> None:
    async with service.client() as client:
        made = (await client.post("/responses", json={"model": "plain", "input": "Hi"})).json()
        address = f"/responses/{made['id']}"
        for query in ("starting_after=3", "stream=false&starting_after=3", "stream=true&starting_after=x"):
            check_error(await client.get(f"{address}?{query}"), 400, "invalid_request", "starting_after")
        for wrong in ("x", "-1", "1.5", "1" * 30):
            refused = await client.get(f"{address}?stream=true", headers={"last-event-id": wrong})
            check_error(refused, 400, "invalid_request", "Last-Event-ID")
        # A browser that has got no number sends the header empty.
        assert (await client.get(f"{address}?stream=true", headers={"last-event-id": ""})).status_code == 200
        check_error(
            await client.get(f"{address}?include_obfuscation=true"), 400, "unsupported_field", "include_obfuscation"
        )
        check_error(await client.get(f"/v1{address}?stream=true"), 409, "other_address")


async def test_events_that_are_gone_are_410_and_the_response_is_still_there(serve: Callable[..., Any]) -> None:
    with serve(event_log_seconds=0.2) as service:
        async with service.client() as client:
            made = (await client.post("/responses", json={"model": "plain", "input": "Hi"})).json()
            address = f"/responses/{made['id']}"
            with anyio.fail_after(20):
                while (answer := await client.get(f"{address}?stream=true")).status_code == 200:  # noqa: ASYNC110 - it expires alone
                    await asyncio.sleep(0.05)
            check_error(answer, 410, "event_log_expired")
            assert (await client.get(address)).json() == made


@pytest.mark.parametrize("gone", ["response", "conversation", "everything"])
async def test_the_events_of_what_was_deleted_are_gone(service: Service, gone: str) -> None:
    async with service.client() as client:
        named = {"context": {"conversation_id": f"gone-{gone}"}}
        made = (await client.post("/responses", json={"model": "plain", "input": "Hi"} | named)).json()
        address = f"/responses/{made['id']}"
        assert (await client.get(f"{address}?stream=true")).status_code == 200
        deleted = {"response": address, "conversation": f"/conversations/gone-{gone}", "everything": "/me/data"}
        assert (await client.delete(deleted[gone])).status_code == 200
        check_error(await client.get(f"{address}?stream=true"), 404, "response_not_found")


async def test_the_stream_of_another_owner_is_one_that_does_not_exist(serve: Callable[..., Any]) -> None:
    with serve(bearer_token="sesame", user_header="X-User") as service:
        async with service.client(headers={"authorization": "Bearer sesame", "x-user": "ann"}) as client:
            made = (await client.post("/responses", json={"model": "plain", "input": "Hi"})).json()
            bob = {"x-user": "bob"}
            foreign = await client.get(f"/responses/{made['id']}?stream=true", headers=bob)
            missing = await client.get("/responses/resp_0123456789abcdef01234567?stream=true", headers=bob)
            assert (await client.get(f"/responses/{made['id']}?stream=true")).status_code == 200
    check_error(foreign, 404, "response_not_found")
    assert foreign.json() == missing.json()


# -- without a stream -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_run_in_progress_is_read_with_its_output_so_far(
    service: Service, upstream: Upstream, prefix: str
) -> None:
    async with service.client() as client:
        with anyio.fail_after(20):
            id_ = await begun(service, upstream, address=f"{prefix}/responses")
            upstream.say("Half of ")
            address = f"{prefix}/responses/{id_}"
            await joined(client, f"{address}?stream=true", most=5)
            half = (await client.get(address)).json()
            upstream.say("it.")
            upstream.end()
            last = (await joined(client, f"{address}?stream=true")).events[-1]["response"]
            assert (await client.get(address)).json() == last
    (item,) = half["output"]
    assert (half["status"], half["store"], item["status"]) == ("in_progress", True, "in_progress")
    assert item["content"][0]["text"] == "Half of "
    assert item["id"] == last["output"][0]["id"]


async def _lines(text: str) -> Any:
    for line in text.split("\n"):
        yield line


# -- the end of the process -----------------------------------------------------------------------------------------


async def test_a_stream_of_a_background_run_is_broken_off_when_the_service_stops_and_goes_on_in_the_next(
    upstream: Upstream, tmp_path: Path
) -> None:
    store = {"GRAPH_AGENT_STORE": f"sqlite:{tmp_path / 'store.sqlite'}"}
    body = {"model": "upstream", "input": "Hi", "background": True, "stream": True}
    read = Joined()
    async with ready(**store) as first, first.client() as client:
        with anyio.fail_after(20):
            body["custom_inputs"] = {"upstream": upstream.url}
            async with client.stream("POST", "/v1/responses", json=body) as stream:
                await upstream.asked.wait()
                upstream.asked.clear()
                upstream.say("Half told.")
                lines = stream.aiter_lines()
                await read.read(lines, most=6)
                first.process.send_signal(signal.SIGTERM)
                with pytest.raises(httpx.RemoteProtocolError):
                    await read.read(lines)
            assert await first.ended() == 0
    assert not read.done
    assert not [line for line in first.log if '"ERROR"' in line]
    id_ = read.events[0]["response"]["id"]
    async with ready(**store) as second, second.client() as client:
        with anyio.fail_after(30):
            await upstream.asked.wait()
            upstream.say("Told whole.")
            upstream.end()
            address = f"/v1/responses/{id_}?stream=true&starting_after={read.numbers[-1]}"
            await joined(client, address, read)
            last = (await client.get(f"/v1/responses/{id_}")).json()
    # Nothing waited for the run.
    assert not [line for line in first.log if "to finish" in line]
    assert read.numbers == [*range(len(read.frames))]
    assert read.events[-1]["response"] == last
    assert last["output"][0]["content"][0]["text"] == "Told whole."
