"""What is kept of a stream once its client has gone."""

import asyncio
import gc
from functools import partial
from typing import Any

import pytest

from gateway.edge.outlet import Outlet
from gateway.edge.trails import OPEN, Trails
from gateway.types import SessionRef
from mcphub.core.ids import new_uuid
from mcphub.core.limits import Limits
from upstreams.types import ClientFacts


@pytest.mark.requirement("P15")
async def test_a_trail_keeps_what_was_said_and_not_what_carried_it() -> None:
    """Nor does the stream leave itself to the collector, which a hub that serves seldom lets come."""
    limits, said = Limits(), list[bytes]()
    trails = Trails(limits, new_uuid().bytes[:8].hex())
    session = SessionRef(new_uuid().hex, "2025-11-25", ClientFacts())
    gone = asyncio.Event()

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message.get("body", b""))

    async def stream() -> str:
        outlet = Outlet(receive, send, limits)
        outlet.sse = True
        outlet.on_leave = gone.set
        outlet.still_allowed = lambda: outlet.sse
        outlet.begin_trail = partial(trails.begin, session, "news")
        outlet.put(OPEN)
        outlet.settle(0)
        outlet.event(b'{"news":1}')
        await asyncio.sleep(0)
        outlet.leave()
        await outlet.end_stream()
        assert outlet.trail is not None
        return outlet.trail.token

    gc.collect()
    gc.disable()
    try:
        token = await stream()
        await asyncio.sleep(0.01)  # the tasks of the stream end
        assert not [each for each in gc.get_objects() if isinstance(each, Outlet)]
    finally:
        gc.enable()
    kept = trails.find(token, 0)
    assert kept is not None
    assert kept[1] == [(1, b'{"news":1}')]
    assert b'{"news":1}' in b"".join(said)
