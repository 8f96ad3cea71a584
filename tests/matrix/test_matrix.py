"""The matrix: every cell holds, or the specification has no such thing."""

from itertools import product

import pytest

from tests.harness.hub import Hub
from tests.harness.raw import ERAS, SIDES, Era, Side
from tests.matrix import page
from tests.matrix.cells import CELLS, EMPTY
from tests.matrix.door import Door, Endpoint

POSSIBLE = [
    pytest.param(kind, client, upstream, id=f"{kind}-{client}-client-{upstream}-upstream")
    for kind, client, upstream in product(CELLS, ERAS, SIDES)
    if (kind, client, upstream) not in EMPTY
]
ENDPOINTS: tuple[Endpoint, Endpoint] = ("aggregate", "single")


@pytest.mark.requirement("P4")
@pytest.mark.requirement("P5")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("kind", "client", "upstream"), POSSIBLE)
async def test_cell(hub: Hub, kind: str, client: Era, upstream: Side, endpoint: Endpoint):
    await CELLS[kind](Door(hub, client, upstream, endpoint))


def test_page_says_what_is_proved():
    assert page.PAGE.read_text() == page.text(), "run `python -m tests.matrix.page`"
