"""The matrix: every cell holds, or the specification has no such thing."""

import pytest

from tests.harness.hub import Hub
from tests.harness.raw import ERAS, SIDES, Era, Side
from tests.matrix import page
from tests.matrix.cells import CELLS, EMPTY
from tests.matrix.door import Door, Endpoint

ENDPOINTS: tuple[Endpoint, Endpoint] = ("aggregate", "single")


@pytest.mark.requirement("P4")
@pytest.mark.requirement("P5")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("upstream", SIDES, ids=lambda side: f"{side}-upstream")
@pytest.mark.parametrize("client", ERAS, ids=lambda era: f"{era}-client")
@pytest.mark.parametrize("kind", CELLS)
async def test_cell(hub: Hub, kind: str, client: Era, upstream: Side, endpoint: Endpoint):
    if reason := EMPTY.get((kind, client, upstream)):
        pytest.skip(reason)
    await CELLS[kind](Door(hub, client, upstream, endpoint))


def test_page_says_what_is_proved():
    assert page.PAGE.read_text() == page.text(), "run `python -m tests.matrix.page`"
