"""A draft of policy against the calls of the last days: read in pages, decided once for all that are alike."""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db.models import Q

from audit import selectors as audit
from audit.events import Kind as EventKind
from audit.models import AuditPayload
from mcphub.accounts.selectors import recorded_principal
from mcphub.core.clock import now
from mcphub.core.principal import Principal
from policies import selectors
from policies.comparing import Comparison, Draft, Seen, Tally, Unknown, Verdict
from policies.compiler import Compiled, compile_policy
from policies.engine import in_scope
from policies.facts import principal_facts, request_for
from policies.recorded import KIND_OF, exact_arguments
from policies.types import CallRequest, Risk, Target

PAGE: Final = 5_000
PAUSE_S: Final = 0.002
MEMORY: Final = 50_000
LOOKED_UP_AT_ONCE: Final = 500
COLUMNS: Final = (
    "principal_id", "credential", "application", "method", "upstream", "name", "risk", "principal",
    "id", "at", "call_id", "payload_mode", "payload_digest", "details",
)  # fmt: skip

RISKS: Final = frozenset(map(str, Risk))

Progress = Callable[[int], None]


class _Inputs(NamedTuple):
    """What a decision depends on besides arguments, as it is on record; `principal` is the caller's label."""

    principal_id: str
    credential: str
    application: str
    method: str
    upstream: str
    name: str
    risk: str
    principal: str


SPLIT: Final = len(_Inputs._fields)
ID, AT, CALL_ID, MODE, DIGEST, DETAILS = range(SPLIT, len(COLUMNS))
_Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """One kind of call: `verdict` is there when it holds for all of them, whatever their arguments."""

    principal: str
    request: CallRequest | None
    verdict: Verdict | None


@dataclass(slots=True)
class _Alike:
    """Calls of one page that are decided alike: how many, and the row of the latest."""

    case: _Case
    count: int
    row: _Values

    def add(self, row: _Values) -> None:
        """One more; rows come in order of time."""
        self.count += _weight(row[DETAILS])
        self.row = row


class Replay:
    """One replay of one org; `tally` grows with each page."""

    def __init__(self, org_id: Any, draft: Draft) -> None:
        self._org_id = org_id
        self.tally: Final = Tally()
        rules = selectors.rules(org_id)
        self.before: Final = self._compiled(rules)
        self.after: Final = self._compiled(draft.applied(rules))
        self._comparison = Comparison(self.before.ruleset, self.after.ruleset)
        self._cases: dict[_Values, _Case] = {}
        self._verdicts: dict[tuple[_Values, bytes], Verdict] = {}
        self._principals: dict[_Values, tuple[Principal, Mapping[str, Any]] | None] = {}

    def _compiled(self, rules: Any) -> Compiled:
        roles, grants = selectors.role_specs(self._org_id), selectors.grants(self._org_id)
        return compile_policy(roles, grants, rules, settings.HUB.limits)

    def take(self, page: Sequence[_Values]) -> None:
        """Count one page of rows in the order of `COLUMNS`."""
        cases, alike = self._cases, dict[_Values, _Alike]()
        undecided: list[tuple[_Values, _Case, _Values]] = []
        for row in page:
            inputs = row[:SPLIT]
            case = cases.get(inputs) or self._remember(inputs)
            if case.verdict is None:
                undecided.append((inputs, case, row))
            elif (known := alike.get(inputs)) is not None:
                known.add(row)
            else:
                alike[inputs] = _Alike(case, _weight(row[DETAILS]), row)
        for each in alike.values():
            self._count(each, each.case.verdict)
        self._take_undecided(undecided)

    def _take_undecided(self, rows: Sequence[tuple[_Values, _Case, _Values]]) -> None:
        """Those whose arguments decide."""
        bodies = _bodies([row[ID] for _, _, row in rows if row[DIGEST]])
        alike: dict[tuple[_Values, str, bytes | None], _Alike] = {}
        for inputs, case, row in rows:
            key = (inputs, row[MODE], bodies.get(row[ID]) if row[DIGEST] else b"")
            if (known := alike.get(key)) is not None:
                known.add(row)
            else:
                alike[key] = _Alike(case, _weight(row[DETAILS]), row)
        for (inputs, mode, body), each in alike.items():
            self._count(each, self._with_arguments(inputs, each.case, mode, body))

    def _with_arguments(self, inputs: _Values, case: _Case, mode: str, body: bytes | None) -> Verdict:
        found = self._verdicts.get((inputs, body)) if body else None
        if found is not None:
            return found
        arguments = exact_arguments(mode, b"" if body == b"" else b"kept", body)
        if arguments is None or body is None or case.request is None:
            return Verdict(unknown=Unknown.ARGUMENTS)
        if len(self._verdicts) >= MEMORY:
            self._verdicts.clear()
        found = self._verdicts[inputs, body] = self._comparison.decided(case.request, arguments)
        return found

    def _count(self, alike: _Alike, verdict: Verdict | None) -> None:
        case, row = alike.case, alike.row
        if verdict is None or verdict.unknown is not None or case.request is None:
            self.tally.add_unknown((verdict and verdict.unknown) or Unknown.METHOD, alike.count)
        else:
            self.tally.add(verdict, case.principal, case.request, Seen(alike.count, row[AT], row[CALL_ID]))

    def _remember(self, inputs: _Values) -> _Case:
        if len(self._cases) >= MEMORY:
            self._cases.clear()
        found = self._cases[inputs] = self._made(_Inputs._make(inputs))
        return found

    def _made(self, inputs: _Inputs) -> _Case:
        kind = KIND_OF.get(inputs.method)
        if kind is None or inputs.risk not in RISKS:
            return _Case(inputs.principal, None, Verdict(unknown=Unknown.METHOD))
        who = self._principal(inputs)
        if who is None:
            return _Case(inputs.principal, None, Verdict(unknown=Unknown.CALLER))
        principal, facts = who
        target = Target(kind, inputs.upstream, inputs.name, Risk(inputs.risk))
        request = request_for(principal, target, facts=facts)
        if not in_scope(target, principal.scope):
            return _Case(inputs.principal, request, Verdict())
        return _Case(inputs.principal, request, self._comparison.needs_arguments(request))

    def _principal(self, inputs: _Inputs) -> tuple[Principal, Mapping[str, Any]] | None:
        key = inputs[:3]
        if key not in self._principals:
            found = recorded_principal(self._org_id, *key)
            self._principals[key] = (found, principal_facts(found)) if found else None
        return self._principals[key]


def replay(
    org_id: Any, draft: Draft, days: int, *, progress: Progress = lambda calls: None, pause_s: float = PAUSE_S
) -> Replay:
    """Every call of the last `days` that is on record, as it is decided now and as the draft would decide it.

    `progress` is told the number of calls read so far after each page. Blocking, for minutes at worst: a thread's or
    a command's work; between pages it lets others have the interpreter.
    """
    made = Replay(org_id, draft)
    for page in _pages(org_id, days):
        made.take(page)
        progress(made.tally.calls)
        time.sleep(pause_s)
    return made


def _pages(org_id: Any, days: int) -> Iterator[list[_Values]]:
    held = Q(
        kind=EventKind.ASKED, effect="ask"
    )  # a client that was asked something in mid-call has its intent already
    calls = Q(kind__in=(EventKind.INTENT, EventKind.DENIED)) | held
    events = audit.Query(org_id=str(org_id), since=now() - timedelta(days=days)).events().filter(calls)
    return audit.columns(events, COLUMNS, PAGE)


def _bodies(ids: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for start in range(0, len(ids), LOOKED_UP_AT_ONCE):
        rows = AuditPayload.objects.filter(id__in=ids[start : start + LOOKED_UP_AT_ONCE])
        found |= {row: bytes(body) for row, body in rows.values_list("id", "body")}
    return found


def _weight(details: str) -> int:
    """How many calls a row stands for: a flood of denials is one row."""
    if details == "{}":
        return 1
    count = json.loads(details).get("denials", 1)
    return count if isinstance(count, int) else 1


def summary(made: Replay) -> dict[str, Any]:
    """The outcome as JSON types, the most frequent changes first."""
    tally = made.tally
    by_effect: dict[str, int] = defaultdict(int)
    for change in tally.changes.values():
        by_effect[f"{change.key.before}-{change.key.after}"] += change.count
    return {
        "calls": tally.calls,
        "changed": tally.changed,
        "by_effect": dict(by_effect),
        "unknown": {str(why): count for why, count in tally.unknown.items()},
        "problems": [problem.text for problem in made.after.problems],
        "changes": [
            {
                "principal": one.key.principal,
                "upstream": one.key.upstream,
                "name": one.key.name,
                "before": one.key.before,
                "after": one.key.after,
                "count": one.count,
                "last_at": one.last_at,
                "call_id": one.call_id,
                "rule": one.rule,
                "reason": one.reason,
            }
            for one in tally.ordered()
        ],
    }
