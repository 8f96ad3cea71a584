"""What becomes of a call when its upstream fails: the rows F02 to F07, F09 to F13, F16 and F19 to F21.

Each row holds for clients of both eras and every kind of upstream where it can occur: the time that it takes, what
the client is told, what is on record, how often it ran, and that the hub then holds no more than before and works on.
F09 and F10 hold as far as static credentials go: nothing is refreshed yet, and no link is given.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from gateway.errors import EFFECT, advice
from tests.faults.baseline import Baseline
from tests.faults.evils import CALL_S, HARD_S, HTTP, KINDS, OVER_HTTP, PIPES, Evils, evils
from tests.faults.faultproxy import Fault
from tests.faults.histories import Told, record
from tests.harness.processes import alive
from tests.harness.raw import ERAS, Era
from tests.harness.waiting import until

SECRET: Final = "postgresql://admin:hunter2@10.0.0.1/prod"
METADATA: Final = "http://169.254.169.254/latest/meta-data/"
SCOPES: Final = 'Bearer error="insufficient_scope", scope="files:write"'
PEAK_KB: Final = 32 * 1024
CANCEL_S: Final = 1
SLACK_S: Final = 1.5
"""For a busy machine, beside the limits that the matrix names."""


@dataclass(frozen=True, slots=True)
class Row:
    """A fault, where it can occur, and how it ends. `ran` is how often the call took effect at the upstream."""

    id: str
    act: str
    reason: str
    outcome: str = "unknown"
    kinds: tuple[str, ...] = KINDS
    within_s: float = HARD_S + SLACK_S
    at_least_s: float = 0
    ran: int = 1
    says: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)


def refusal(id: str, status: int, reason: str, outcome: str = "not_sent", says: str = "", **headers: str) -> Row:
    """A row in which an HTTP status is the answer."""
    arguments = {"status": status, "body": f"<html>{SECRET}</html>", "headers": headers}
    return Row(id, "status", reason, outcome, OVER_HTTP, ran=0, says=says, arguments=arguments)


ROWS: Final = (
    Row("F02", "die", "lost", kinds=OVER_HTTP),
    Row("F05-json", "garbage", "protocol", arguments={"body": '{"jsonrpc":"2.0","result":'}),
    Row("F05-id", "wrong_id", "protocol"),
    Row("F05-version", "wrong_version", "protocol"),
    Row("F06-huge", "huge", "too_large", arguments={"bytes": 100 * 2**20}, kinds=OVER_HTTP, within_s=20),
    Row("F06-endless", "flood", "too_large"),
    Row("F06-gzip", "bomb", "too_large", kinds=HTTP),
    Row("F06-brotli", "bomb", "too_large", kinds=HTTP, arguments={"encoding": "br"}),
    Row("F06-headers", "headers", "protocol", kinds=HTTP),
    Row("F06-trailers", "headers", "timeout", kinds=HTTP, within_s=CALL_S + SLACK_S, arguments={"trailing": True}),
    Row("F07", "cut", "lost"),
    refusal("F09", 401, "needs_connection"),
    refusal("F10", 403, "needs_scope", **{"WWW-Authenticate": SCOPES}),
    refusal("F11", 429, "rate_limited", says="Wait 7 s.", **{"Retry-After": "7"}),
    refusal("F12", 500, "upstream_error", "failed", says="HTTP 500"),
    refusal("F12-gateway", 504, "upstream_error", "unknown", says="HTTP 504"),
    Row("F19", "chat", "protocol", kinds=PIPES, arguments={"lines": 1_000}),
    Row("F20", "huge", "too_large", kinds=PIPES, arguments={"bytes": 50 * 2**20}, within_s=20),
    Row("F21", "die", "lost", kinds=PIPES),
    Row("F03", "hang", "timeout", within_s=CALL_S + SLACK_S, at_least_s=CALL_S),
    Row("F04", "drip", "timeout", within_s=HARD_S + SLACK_S, at_least_s=HARD_S - 0.1),
)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evils]:
    with evils(tmp_path_factory.mktemp("evils")) as running:
        yield running


CASES: Final = [pytest.param(row, kind, id=f"{row.id}-{kind}") for row in ROWS for kind in row.kinds]


@pytest.mark.requirement("U19")
@pytest.mark.parametrize(("row", "kind"), CASES)
async def test_fault_ends_soon_plainly_and_on_record(hub: Evils, row: Row, kind: str):
    with unharmed(hub, kind):
        for era in ERAS:
            hub.until_well(kind)
            told = await hub.tell(kind, era, do=row.act, **row.arguments)
            expect(told, row.reason, row.outcome, row.says)
            assert row.at_least_s <= told.took_s <= row.within_s
            history = hub.history(kind, told)
            assert (history.arrived, history.ran) == (1, row.ran)


@contextmanager
def unharmed(hub: Evils, kind: str) -> Iterator[None]:
    """Afterwards calls work again, and the hub holds no more than before, when all of its upstreams were well."""
    for each in hub.truths:
        hub.until_well(each)
    baseline = Baseline(hub.hub)
    yield
    hub.until_well(kind)
    assert baseline.peak_kb() <= PEAK_KB
    baseline.expect_return()
    assert SECRET not in hub.hub.output


def expect(told: Told, reason: str, outcome: Any, says: str = "") -> None:
    """The client was told what happened, whether it may have run, what to do, and the call id."""
    assert told.error is not None, told.text
    retryable = outcome == "not_sent" and reason in {"unreachable", "timeout", "breaker_open", "rate_limited"}
    facts = {"reason": reason, "outcome": outcome, "retryable": retryable, "call_id": told.call_id}
    wait = re.search(r"Wait (\d+) s\.", told.text)
    assert told.error == facts | ({"retry_after": int(wait[1])} if wait else {}), told.text
    assert told.call_id
    parts = (says, EFFECT[outcome], advice(reason, outcome), f"Call id: {told.call_id}")  # type: ignore[arg-type]  # a reason
    assert all(part in told.text for part in parts), told.text
    assert told.text.index(EFFECT[outcome]) > 0, "what happened comes first"
    assert SECRET not in told.text


# --- broken on the way -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("after", [0, 5, 200])
@pytest.mark.parametrize("how", ["cut_after", "reset_after"])
async def test_f07_answer_that_is_cut_anywhere_is_lost_unless_the_hub_knew_before(
    hub: Evils, kind: str, after: int, how: str
):
    with unharmed(hub, kind):
        for era in ERAS:
            hub.until_well(kind)
            with hub.proxies[kind].broken(Fault(**{how: after})):
                told = await hub.tell(kind, era, do="echo", text="x" * 2_000)
            assert told.took_s <= SLACK_S
            history = hub.history(kind, told)
            if history.ran:
                expect(told, "lost", "unknown")
            else:
                expect(told, "unreachable", "not_sent")


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(
    ("id", "fault"), [("F03", Fault(black_hole=True)), ("F04", Fault(drip_s=0.3))], ids=["F03", "F04"]
)
async def test_f03_f04_answer_that_does_not_arrive_is_waited_for_up_to_the_limits(
    hub: Evils, kind: str, id: str, fault: Fault
):
    with unharmed(hub, kind):
        with hub.proxies[kind].broken(fault):
            told = await hub.tell(kind, "modern", do="echo", text="x" * 2_000)
        expect(told, "timeout", "unknown")
        assert CALL_S <= told.took_s <= HARD_S + SLACK_S
        assert hub.history(kind, told).ran == 1


# --- what the upstream and others notice -------------------------------------------------------------


@pytest.mark.requirement("P18")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("era", ERAS)
async def test_f03_upstream_is_told_that_nobody_waits_any_more(hub: Evils, kind: str, era: Era):
    hub.until_well(kind)
    truth = hub.truths[kind]

    def told() -> int:
        return len(truth.messages("notifications/cancelled")) + truth.left("hang")

    before = told()
    await hub.tell(kind, era, do="hang")
    until("the cancel at the upstream", lambda: told() > before, CANCEL_S)


@pytest.mark.requirement("U18")
@pytest.mark.parametrize("kind", ["old", "new"])
async def test_f12_upstream_that_only_fails_is_left_alone_and_comes_back(hub: Evils, kind: str):
    page = {"do": "status", "status": 500, "body": f"<html>{SECRET}</html>"}
    with unharmed(hub, kind):
        failures = [await hub.tell(kind, era, **page) for era in (*ERAS, *ERAS, ERAS[0])]
        for told in failures:
            expect(told, "upstream_error", "failed", "HTTP 500")
        told = await hub.tell(kind, "modern", do="echo", text="hello")
        expect(told, "breaker_open", "not_sent", "left alone")
        assert told.took_s <= SLACK_S
        assert hub.history(kind, told).arrived == 0
        said = hub.hub.manage("doctor", fails=1)
        assert f"{kind}" in said
        assert "5 calls in a row failed" in said
        assert SECRET not in said + str(record(hub.hub))


@pytest.mark.requirement("U1")
@pytest.mark.parametrize("kind", HTTP)
async def test_f16_forgotten_session_is_made_anew_unnoticed(hub: Evils, kind: str):
    with unharmed(hub, kind):
        for era in ERAS:
            hub.until_well(kind)
            await hub.tell(kind, era, do="forget")
            told = await hub.tell(kind, era, do="echo", text="still here")
            assert told.text == "still here"
            assert hub.history(kind, told).ran == 1


@pytest.mark.parametrize("kind", PIPES)
@pytest.mark.parametrize(
    "habit", [{"do": "chat", "lines": 50}, {"do": "cry", "bytes": 50 * 2**20}], ids=["F19-few", "F20-stderr"]
)
async def test_bad_habit_within_bounds_costs_no_call(hub: Evils, kind: str, habit: dict[str, Any]):
    with unharmed(hub, kind):
        for era in ERAS:
            told = await hub.tell(kind, era, text="done", **habit)
            assert told.text == "done"
            assert hub.history(kind, told).ran == 1


@pytest.mark.requirement("R1", "U18")
@pytest.mark.parametrize("kind", PIPES)
async def test_f21_killed_child_is_started_anew_and_leaves_no_zombie(hub: Evils, kind: str):
    with unharmed(hub, kind):
        for era in ERAS:
            hub.until_well(kind)
            before = hub.hub.children()
            await hub.tell(kind, era, do="die")
            hub.until_well(kind)
            gone = before - hub.hub.children()
            assert len(gone) == 1
            assert not alive(gone.pop())
