"""What is counted for Prometheus: calls as the record of them is stored, off the event loop, and what was refused.

Names and labels are an interface (README). Labels are bounded: after `MOST_TOOLS` tools the rest count as `other`.
With several web processes on one machine (`serve --workers`) the library adds them up through files.
"""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

from prometheus_client import Counter, Histogram, disable_created_metrics

from audit.events import Event, Kind

MOST_TOOLS: Final = 2_000
OTHER: Final = "other"
RATE_LIMITED: Final = "gate:rate_limited"
"""The `rule` of a call too many."""
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's

CALLS: Final = Counter("mcphub_calls", "Calls that ended.", ("org", "upstream", "tool", "outcome", "risk"))
SECONDS: Final = Histogram("mcphub_call_seconds", "How long calls took.", ("org", "upstream"), buckets=BUCKETS)
DECISIONS: Final = Counter("mcphub_decisions", "What policy decided.", ("org", "effect"))
REQUEST_BYTES: Final = Counter("mcphub_request_bytes", "Bytes of the calls' requests.", ("org", "upstream"))
RESULT_BYTES: Final = Counter("mcphub_result_bytes", "Bytes of the calls' results.", ("org", "upstream"))
REFUSED: Final = Counter("mcphub_audit_refused", "Calls refused because their intent could not be stored.")
DROPPED: Final = Counter("mcphub_audit_dropped", "Events that could not be stored and that nobody waited for.")
ERRORS: Final = Counter("mcphub_errors", "JSON-RPC errors answered to clients.", ("code",))
LIMITED: Final = Counter("mcphub_rate_limited", "Calls refused by a rate limit.", ("org", "upstream"))
STRAYS: Final = Counter("mcphub_upstream_strays", "What upstreams said that belonged to nothing.", ("upstream",))

EFFECTS: Final = {Kind.INTENT: "allow", Kind.DENIED: "deny", Kind.ASKED: "ask"}

_tools: Final[set[tuple[str, str, str]]] = set()


def count(events: Iterable[Event]) -> None:
    """Count events that were stored."""
    ended = []
    decided: Tally[tuple[str, str]] = Tally()
    for event in events:
        if event.kind is Kind.OUTCOME:
            ended.append(event)
        elif (effect := EFFECTS.get(event.kind)) is not None:
            times = event.details.get("denials", 1)
            decided[event.org, effect] += times
            if event.rule == RATE_LIMITED:
                LIMITED.labels(event.org, event.upstream).inc(times)
    for (org, effect), times in decided.items():
        DECISIONS.labels(org, effect).inc(times)
    if ended:
        _count_ends(ended)


def _count_ends(ended: Iterable[Event]) -> None:
    calls: Tally[tuple[str, str, str, str, str]] = Tally()
    asked: Tally[tuple[str, str]] = Tally()
    told: Tally[tuple[str, str]] = Tally()
    took = {of: SECONDS.labels(*of).observe for of in {(event.org, event.upstream) for event in ended}}
    for event in ended:
        of = event.org, event.upstream
        calls[*of, _tool(*of, event.name), event.outcome, event.risk] += 1
        asked[of] += event.request_bytes
        told[of] += event.result_bytes
        took[of](event.latency_us / 1_000_000)
    for key, times in calls.items():
        CALLS.labels(*key).inc(times)
    for counter, totals in ((REQUEST_BYTES, asked), (RESULT_BYTES, told)):
        for of, size in totals.items():
            counter.labels(*of).inc(size)


def _tool(org: str, upstream: str, name: str) -> str:
    """The label of a tool, prompt or resource."""
    known = (org, upstream, name)
    if known not in _tools:
        if len(_tools) >= MOST_TOOLS:
            return OTHER
        _tools.add(known)
    return name
