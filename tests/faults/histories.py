"""Three histories of the same calls, joined: what the client was told, what the upstream saw, what is on record.

A call is known by the `nonce` among its arguments, which a test makes up and every history repeats.
"""

import json
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from tests.faults.truth import Truth
from tests.harness.hub import Hub
from tests.harness.raw import RawClient, RpcFailed
from tests.harness.waiting import until

EVENTS: Final = """
    SELECT e.kind, e.call_id, e.at, e.method, e.upstream, e.name, e.outcome, e.reason, e.latency_us, p.body
    FROM audit_auditevent e LEFT JOIN audit_auditpayload p ON p.id = e.id
    WHERE e.kind IN ('intent', 'outcome', 'denied', 'resumed') ORDER BY e.at
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What the client got for one call: the text of a result, or the hub's error with its words."""

    nonce: str
    text: str
    error: Mapping[str, Any] | None
    took_s: float

    @property
    def call_id(self) -> str:
        return str(self.error["call_id"]) if self.error is not None else ""


@dataclass(frozen=True, slots=True)
class History:
    """One call in all three. `arrived` and `ran` count what the upstream saw; events are rows of the record."""

    nonce: str
    told: Told | None
    arrived: int
    ran: int
    intents: tuple[Mapping[str, Any], ...]
    outcomes: tuple[Mapping[str, Any], ...]

    @property
    def outcome(self) -> str:
        """How the record says that it ended; "" while it says nothing."""
        return str(self.outcomes[-1]["outcome"]) if self.outcomes else ""


async def tell(client: RawClient, tool: str, **arguments: Any) -> Told:
    """Make a call with a fresh nonce and keep what the client is told. Transport errors are the caller's.

    Progress is asked for, and dropped.
    """
    nonce = str(arguments.setdefault("nonce", uuid.uuid4().hex))
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": nonce}}
    began = time.monotonic()
    try:
        result = await client.request("tools/call", params)
    except RpcFailed as failed:
        error = (failed.error.get("data") or {}).get("mcphub/error", {"code": failed.error["code"]})
        return Told(nonce, str(failed.error["message"]), error, time.monotonic() - began)
    text = "".join(block.get("text", "") for block in result.get("content", ()))
    return Told(nonce, text, result.get("_meta", {}).get("mcphub/error"), time.monotonic() - began)


def record(hub: Hub) -> list[dict[str, Any]]:
    """Every event of calls in the hub's record, oldest first; `body` is what was kept of the arguments.

    Read from the database itself, so that it works while the hub is down.
    """
    url = hub.environment.get("MCPHUB_DATABASE_URL", "").partition("?")[0]
    if url:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            return connection.execute(EVENTS).fetchall()
    with closing(sqlite3.connect(f"file:{hub.database}?mode=ro", uri=True, timeout=5)) as store:
        store.row_factory = sqlite3.Row
        return [dict(row) for row in store.execute(EVENTS)]


def join(told: Iterable[Told], truth: Truth, events: Iterable[Mapping[str, Any]]) -> dict[str, History]:
    """The histories by nonce; of every call that any of the three knows."""
    by_nonce = {each.nonce: each for each in told}
    arrived, ran = truth.arrived(), truth.ran()
    intents: dict[str, list[Mapping[str, Any]]] = {}
    outcomes: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["kind"] in ("outcome", "denied"):
            outcomes.setdefault(event["call_id"], []).append(event)
        elif nonce := _nonce(event):
            intents.setdefault(nonce, []).append(event)
    return {
        nonce: History(
            nonce,
            by_nonce.get(nonce),
            arrived[nonce],
            ran[nonce],
            tuple(intents.get(nonce, ())),
            tuple(each for intent in intents.get(nonce, ()) for each in outcomes.get(intent["call_id"], ())),
        )
        for nonce in by_nonce.keys() | arrived.keys() | ran.keys() | intents.keys()
    }


def joined(hub: Hub, truth: Truth, told: Iterable[Told]) -> dict[str, History]:
    """The histories once every intent has its outcome, which is written a moment after the answer."""
    told = tuple(told)

    def complete() -> dict[str, History]:
        found = join(told, truth, record(hub))
        ended = all(each.outcomes for each in found.values() if each.intents)
        return found if ended and all(found[each.nonce].intents for each in told) else {}

    return until("the outcome of every call on record", complete)


def faults(histories: Mapping[str, History]) -> list[str]:
    """What contradicts the promises (PROMISES 1 and 2) or itself, in words; empty when all is well.

    Calls that may be sent twice, because an operator said so, are not for this.
    """
    found = []
    for nonce, each in histories.items():
        if each.arrived and not each.intents:
            found.append(f"{nonce} reached the upstream and is not on record")
        if each.ran > 1:
            found.append(f"{nonce} ran {each.ran} times")
        if len(each.intents) > 1:
            found.append(f"{nonce} has {len(each.intents)} intents")
        if each.outcome == "not_sent" and each.ran:
            found.append(f"{nonce} is said not to have been sent, and ran")
        if each.outcome == "completed" and not each.ran:
            found.append(f"{nonce} is said to have been completed, and never ran")
        found += _contradictions(each)
    return found


def _contradictions(each: History) -> list[str]:
    """Where the client was told something else than the record says."""
    if each.told is None or not each.outcomes:
        return []
    error, kept = each.told.error, each.outcomes[-1]
    if error is None:
        return [] if each.outcome == "completed" else [f"{each.nonce} was answered, the record says {each.outcome}"]
    said = (error.get("call_id"), error.get("reason"), error.get("outcome"))
    recorded = (kept["call_id"], kept["reason"], kept["outcome"])
    return [] if said == recorded else [f"{each.nonce}: the client was told {said}, the record says {recorded}"]


def doubles(counts: Counter[str]) -> list[str]:
    """What happened more than once."""
    return [name for name, count in counts.items() if count > 1]


def _nonce(event: Mapping[str, Any]) -> str:
    try:
        return str(json.loads(bytes(event["body"] or b"null")).get("nonce", ""))
    except (ValueError, AttributeError):
        return ""
