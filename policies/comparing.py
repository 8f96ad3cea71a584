"""What a draft changes of calls that were made: the policy as it is against the policy as it would be. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from msgspec import structs

from policies.engine import Plan, RuleSet, decide
from policies.types import CallRequest, Decision, Effect, Rule

MAX_CHANGES: Final = 5_000


class Unknown(StrEnum):
    """Why nothing can be said of a call on record."""

    ARGUMENTS = "arguments"
    CALLER = "caller"
    CLIENT = "client"
    METHOD = "method"


TOLD: Final[Mapping[Unknown, str]] = {
    Unknown.ARGUMENTS: "a condition reads arguments that were not kept whole",
    Unknown.CALLER: "whoever called is not there any longer",
    Unknown.CLIENT: "a condition reads what the client says of itself, which is not on record",
    Unknown.METHOD: "a completion, of which the record does not tell what it was to",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """Rules that are added or take the place of those with their id or name, and names of rules that go."""

    put: tuple[Rule, ...] = ()
    remove: frozenset[str] = frozenset()

    def applied(self, rules: Iterable[Rule]) -> list[Rule]:
        """The rules as they would be."""
        ids, names = {rule.id for rule in self.put}, {rule.name for rule in self.put} | self.remove
        return [*(rule for rule in rules if rule.id not in ids and rule.name not in names), *self.put]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Both decisions on one call, or why one of them cannot be known."""

    before: Decision | None = None
    after: Decision | None = None
    unknown: Unknown | None = None


SAME: Final = Verdict()


class Comparison:
    """Two policies side by side."""

    def __init__(self, before: RuleSet, after: RuleSet) -> None:
        self._before = before
        self._after = after

    def needs_arguments(self, request: CallRequest) -> Verdict | None:
        """The verdict where arguments cannot matter, None where they are needed."""
        one, other = self._before.plan(request), self._after.plan(request)
        if _signature(one) == _signature(other):
            return SAME
        conditions = [entry.condition for entry in (*one.conditional, *other.conditional) if entry.condition]
        if any(condition.reads_client for condition in conditions):
            return Verdict(unknown=Unknown.CLIENT)
        if any(condition.reads_arguments for condition in conditions):
            return None
        return self.decided(request, {})

    def decided(self, request: CallRequest, arguments: Mapping[str, Any]) -> Verdict:
        """Both decisions on the call with these arguments."""
        asked = structs.replace(request, arguments=lambda: arguments)
        before, after = decide(self._before, asked), decide(self._after, asked)
        return SAME if before.effect == after.effect else Verdict(before, after)


def _signature(plan: Plan) -> tuple[Any, ...]:
    """What two plans have in common that decide the same whatever the arguments."""
    conditions = tuple((entry.effect, entry.condition and entry.condition.source) for entry in plan.conditional)
    return conditions, plan.final.effect


@dataclass(frozen=True, slots=True)
class ChangeKey:
    """Calls that change alike."""

    principal: str
    upstream: str
    name: str
    before: Effect
    after: Effect


@dataclass(frozen=True, slots=True)
class Change:
    """How often such a call was made; `rule` and `reason` are of the draft's decision, `call_id` is of the latest."""

    key: ChangeKey
    count: int
    last_at: int
    call_id: str
    rule: str
    reason: str


@dataclass(slots=True)
class Tally:
    """The outcome so far. Beyond `MAX_CHANGES` kinds of change only their number is kept."""

    calls: int = 0
    changed: int = 0
    changes: dict[ChangeKey, Change] = field(default_factory=dict)
    unknown: dict[Unknown, int] = field(default_factory=dict)

    def add(self, verdict: Verdict, who: str, request: CallRequest, seen: "Seen") -> None:
        """Count calls that were decided alike."""
        self.calls += seen.count
        if verdict.before is None or verdict.after is None:
            return
        self.changed += seen.count
        target = request.target
        key = ChangeKey(who, target.upstream, target.name, verdict.before.effect, verdict.after.effect)
        known = self.changes.get(key)
        if known is None and len(self.changes) >= MAX_CHANGES:
            return
        made = Change(key, seen.count, seen.last_at, seen.call_id, verdict.after.rule, verdict.after.reason)
        self.changes[key] = made if known is None else _later(known, made)

    def add_unknown(self, why: Unknown, count: int) -> None:
        """Count calls of which nothing can be said."""
        self.calls += count
        self.unknown[why] = self.unknown.get(why, 0) + count

    def ordered(self) -> Sequence[Change]:
        """The changes, those that come most often first."""
        return sorted(self.changes.values(), key=lambda one: (-one.count, one.key.principal, one.key.name))


@dataclass(frozen=True, slots=True)
class Seen:
    """Calls of one kind on record: how many, when last (microseconds since 1970), and the id of that one."""

    count: int
    last_at: int
    call_id: str


def _later(known: Change, made: Change) -> Change:
    newest = made if made.last_at >= known.last_at else known
    return replace(newest, count=known.count + made.count)
