"""Reading the record: filtered pages by key, never by number, and one call as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Q, QuerySet

from audit.events import Kind, Result
from audit.models import AuditEvent, AuditPayload

EXACT: Final = (
    "org",
    "kind",
    "effect",
    "outcome",
    "upstream",
    "name",
    "risk",
    "principal_id",
    "call_id",
    "application",
)


@dataclass(frozen=True, slots=True)
class Query:
    """Which events: of one org by id ("" = the installation, None = all), and equal in every field that is not ""."""

    org_id: str | None = None
    org: str = ""
    kind: str = ""
    effect: str = ""
    outcome: str = ""
    upstream: str = ""
    name: str = ""
    risk: str = ""
    principal_id: str = ""
    call_id: str = ""
    application: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def events(self) -> QuerySet[AuditEvent]:
        """The matching events, unordered."""
        found = AuditEvent.objects.filter(**{name: getattr(self, name) for name in EXACT if getattr(self, name)})
        if self.org_id is not None:
            found = found.filter(org_id=self.org_id)
        if self.since is not None:
            found = found.filter(at__gte=epoch_us_of(self.since))
        if self.until is not None:
            found = found.filter(at__lt=epoch_us_of(self.until))
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two events of a timeline; text form `<at>.<id>`."""

    at: int
    id: int

    def __str__(self) -> str:
        return f"{self.at}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Place | None":
        """None for what is no place."""
        at, _, row = text.partition(".")
        return cls(int(at), int(row)) if at.isdecimal() and row.isdecimal() and len(text) < 40 else None


def older(events: QuerySet[AuditEvent], than: Place | None, limit: int) -> list[AuditEvent]:
    """The next `limit` events going back in time, newest first."""
    if than is not None:
        events = events.filter(Q(at__lt=than.at) | Q(at=than.at, id__lt=than.id), at__lte=than.at)
    return list(events.order_by("-at", "-id")[:limit])


def oldest_first(events: QuerySet[AuditEvent], page: int = 1_000) -> Iterator[list[AuditEvent]]:
    """All events in order of time, in pages; each page is one short query."""
    after = None
    while True:
        ahead = events
        if after is not None:
            ahead = events.filter(Q(at__gt=after.at) | Q(at=after.at, id__gt=after.id), at__gte=after.at)
        rows = list(ahead.order_by("at", "id")[:page])
        if rows:
            yield rows
            after = Place(rows[-1].at, rows[-1].id)
        if len(rows) < page:
            return


def columns(events: QuerySet[AuditEvent], names: Sequence[str], page: int) -> Iterator[list[tuple[Any, ...]]]:
    """Some columns of all events in order of time, in pages of one short query each; `at` and `id` among them."""
    at, row = names.index("at"), names.index("id")
    after: Place | None = None
    while True:
        ahead = events
        if after is not None:
            ahead = events.filter(Q(at__gt=after.at) | Q(at=after.at, id__gt=after.id), at__gte=after.at)
        found = list(ahead.order_by("at", "id").values_list(*names)[:page])
        if found:
            yield found
            after = Place(found[-1][at], found[-1][row])
        if len(found) < page:
            return


def call(org_id: str, call_id: str) -> list[AuditEvent]:
    """Everything recorded of one call, in order of time."""
    found = AuditEvent.objects.filter(call_id=call_id, org_id=org_id) if call_id else AuditEvent.objects.none()
    return sorted(found, key=lambda row: (row.at, row.id))


def outcome_of(events: Sequence[AuditEvent]) -> AuditEvent | None:
    """How a call ended: the first outcome that is not `unknown`, else `unknown`, else None (still open)."""
    outcomes = [row for row in events if row.kind == Kind.OUTCOME]
    known = [row for row in outcomes if row.outcome != Result.UNKNOWN]
    return next(iter([*known, *outcomes]), None)


def payloads_of(events: Sequence[AuditEvent]) -> dict[int, str]:
    """The kept payloads of `events` as JSON text, by event id."""
    kept = AuditPayload.objects.filter(id__in=[row.id for row in events])
    return {one.id: bytes(one.body).decode(errors="replace") for one in kept}


def epoch_us_of(moment: datetime) -> int:
    """Microseconds since 1970 of an aware date."""
    return round(moment.timestamp() * 1_000_000)
