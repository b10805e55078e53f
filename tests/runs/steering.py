"""Steers, as the routes accept them."""

import asyncio
import json
from typing import Any

from tests.runs.registered import OneGraph
from tests.runs.stored import Chat

from graph_agent.protocol.steer_requests import parse_steer
from graph_agent.protocol.steering import SUCCESSOR
from graph_agent.runs.registry import Runs
from graph_agent.runs.steering import Steering
from graph_agent.stores.steer_records import StoredSteer


async def steer(chat: Chat, text: Any, *, response: str | None = None, runs: Runs | None = None) -> StoredSteer:
    """Say something while a response is in progress: the last one, or another one."""
    stored = await chat.record(response)
    message = parse_steer(json.dumps({"input": text}).encode())
    steering = Steering(runs or chat.runs)
    return await steering.steer(chat.owner, stored, message, store=chat.store, graphs=OneGraph(chat.graph))


async def ended(chat: Chat, response: str) -> Any:
    """The record of a response, once its run has ended."""
    while True:
        record = await chat.record(response)
        run = chat.runs.own(chat.owner, response)
        if not record.is_open and (run is None or run.over):
            return record
        await (asyncio.sleep(0.01) if run is None else run.ended())


async def line(chat: Chat, first: str) -> list[Any]:
    """The records of a response and of all that followed it because of steers, once the last one has ended."""
    records = [await ended(chat, first)]
    while (successor := (records[-1].response or {}).get("metadata", {}).get(SUCCESSOR)) is not None:
        records.append(await ended(chat, successor))
    return records


async def given_back(chat: Chat, response: str) -> list[tuple[str, str | None]]:
    """What became of the steers of a response: their states and codes."""
    stored = await chat.record(response)
    found = await Steering(chat.runs).listed(chat.owner, stored, store=chat.store)
    return [(one.status, one.error) for one in found]


def said(state: Any) -> list[str]:
    """The texts of a state's messages."""
    return [one.text for one in state]
