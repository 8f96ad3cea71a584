"""stdio upstreams, run as real processes."""

import json

import pytest

from tests.links.conftest import TIME, MemoryBook, spec, tool
from upstreams.connections import Connections


@pytest.mark.requirement("U3")
async def test_time_server_is_discovered_and_called(hub: Connections, book: MemoryBook) -> None:
    time = spec(**TIME)
    hub.set_specs([time])
    await book.until(lambda: "u1" in book.listings)
    assert {each["name"] for each in book.listings["u1"]["tool"]} == {"get_current_time", "convert_time"}

    answer = await hub.call(time, tool("get_current_time", {"timezone": "UTC"}))

    assert answer.error is None
    content = json.loads(answer.result)["content"]
    assert json.loads(content[0]["text"])["timezone"] == "UTC"
    assert book.reports["u1"].state == "up"
