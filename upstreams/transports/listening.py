"""What an HTTP upstream sends outside of exchanges: the GET stream, or `subscriptions/listen`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final

from mcphub.core.limits import Limits
from upstreams.errors import ProtocolFault, UpstreamError
from upstreams.transports import wire as messages
from upstreams.transports.events import EventReader
from upstreams.transports.http1 import Wire
from upstreams.transports.origin import Sending

RECONNECT_S: Final = 1.0
RECONNECT_MAX_S: Final = 60.0

Take = Callable[[messages.Message], None]


def new_reader(limits: Limits) -> EventReader:
    """A reader with the limits of one answer."""
    return EventReader(limits.result_bytes, limits.stream_bytes)


async def listen(open_stream: Callable[[str], Sending], take: Take, limits: Limits) -> bool:
    """Keep a stream open and hand over every message, until the upstream says that it has none (4xx).

    `open_stream` gets the last event id, or "". Reconnects with growing pauses, or when the upstream said.
    Returns whether there was one before.
    """
    reader = new_reader(limits)
    pause = RECONNECT_S
    opened = False
    while True:
        with suppress(UpstreamError):
            async with open_stream(reader.last_id) as wire:
                if 400 <= wire.status < 500:
                    return opened
                if wire.status == 200:
                    opened = True
                    pause = RECONNECT_S
                    async for message in messages_on(wire, reader):
                        take(message)
        await asyncio.sleep(pause if reader.retry_s is None else max(reader.retry_s, 0.1))
        pause = min(pause * 2, RECONNECT_MAX_S)
        reader = new_reader(limits).after(reader)


async def messages_on(wire: Wire, reader: EventReader) -> AsyncIterator[messages.Message]:
    """The JSON-RPC messages of an event stream, to its end. Raises `UpstreamError`."""
    if not wire.header(b"content-type").startswith("text/event-stream"):
        raise ProtocolFault("The upstream's stream is not an event stream.")
    while piece := await wire.read():
        for event in reader.feed(piece):
            if event.kind == "message" and event.data.strip():
                for message in messages.decode_all(event.data):
                    yield message
