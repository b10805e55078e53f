"""Clients that join the stream of a response: by hand, over real sockets."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.serving.conftest import Service, Upstream, ask, leave

DONE = "[DONE]"


@dataclass
class Frame:
    """One server-sent event."""

    id: str | None = None
    event: str | None = None
    data: str = ""


@dataclass
class Joined:
    """What a client has read of one stream, over all its connections."""

    frames: list[Frame] = field(default_factory=list)
    done: bool = False

    @property
    def events(self) -> list[Any]:
        return [json.loads(one.data) for one in self.frames]

    @property
    def numbers(self) -> list[int]:
        return [event["sequence_number"] for event in self.events]

    @property
    def text(self) -> str:
        return "".join(one["delta"] for one in self.events if one["type"] == "response.output_text.delta")

    async def read(self, lines: Any, *, most: int | None = None) -> None:
        """Read to the end of the stream, or so many events."""
        frame, read = Frame(), 0
        async for line in lines:
            name, _, value = line.partition(": ")
            if line == "" and frame.data == DONE:
                self.done = True
            elif line == "" and frame.data:
                self.frames.append(frame)
                read += 1
                if read == most:
                    return
            elif name in ("id", "event", "data"):
                setattr(frame, name, value)
            if line == "":
                frame = Frame()


async def joined(
    client: httpx.AsyncClient, address: str, into: Joined | None = None, *, most: int | None = None, **headers: str
) -> Joined:
    """Read the stream at this address into what the client has already."""
    into = into or Joined()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", address, headers=named) as stream:
        assert stream.status_code == 200, await stream.aread()
        await into.read(stream.aiter_lines(), most=most)
    return into


async def begun(service: Service, upstream: Upstream, *, address: str = "/responses", **fields: Any) -> str:
    """The id of a streamed run that has begun, whose caller has left, and whose model is asked."""
    reader, writer = await ask(service, upstream, address=address, stream=True, **fields)
    while b'"resp_' not in (line := await reader.readline()):
        pass
    await leave(writer)
    event = json.loads(line.removeprefix(b"data: "))
    return str(event["response"]["id"])
