"""What is read of credentials. Everything blocks on the database."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import F, Q, QuerySet

from mcphub.core.clock import now
from upstreams.credentials.models import SHARED, Credential

FAILING: Final[str] = Credential.State.FAILING.value
USABLE: Final = frozenset({Credential.State.CONNECTED.value, Credential.State.EXPIRED.value, FAILING})
"""States in which a credential that has a secret is worth a try: an expired one may be renewed."""

COLUMNS: Final = (
    *("pk", "upstream__org_id", "upstream_id", "holder", "version", "state", "problem", "place"),
    *("connected_at", "expires_at"),
)


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """What a process remembers of every credential; `until` is seconds since 1970."""

    id: str
    org_id: str
    upstream_id: str
    holder: str
    version: int
    state: str
    problem: str
    place: str
    connected_at: float
    until: float | None

    @property
    def key(self) -> tuple[str, str]:
        """Upstream id and holder."""
        return self.upstream_id, self.holder

    @property
    def usable(self) -> bool:
        """Whether it may be presented."""
        return self.state in USABLE


def lost(holder: str, orgs: Iterable[str], shared_of: Iterable[str]) -> "QuerySet[Credential]":
    """Accounts that have to be connected again: the holder's own in `orgs`, and the shared ones of `shared_of`."""
    mine = Q(holder=holder, upstream__org_id__in=list(orgs))
    shared = Q(holder=SHARED, upstream__org_id__in=list(shared_of))
    rows = Credential.objects.filter(state=Credential.State.NEEDS_CONNECTION, upstream__enabled=True)
    return rows.filter(mine | shared).select_related("upstream").order_by("upstream__slug", "holder")


def facts_of_org(org_id: Any) -> list[CredentialFacts]:
    """Every credential of an org."""
    return [_facts(*row) for row in Credential.objects.for_org(org_id).order_by().values_list(*COLUMNS)]


def opened(upstream_id: Any, holder: str) -> tuple[CredentialFacts, dict[str, Any] | None] | None:
    """One credential with its secret. Raises `KeyringError`."""
    row = Credential.objects.filter(upstream_id=upstream_id, holder=holder).select_related("upstream").first()
    if row is None:
        return None
    facts = _facts(
        row.pk,
        row.upstream.org_id,
        row.upstream_id,
        row.holder,
        row.version,
        row.state,
        row.problem,
        row.place,
        row.connected_at,
        row.expires_at,
    )
    return facts, row.secret


def people_due(upstream_id: Any, every_s: float | None) -> list[str]:
    """See `Book.people_due`."""
    rows = Credential.objects.filter(upstream_id=upstream_id, state__in=USABLE).exclude(holder="")
    if every_s is not None:
        before = now() - timedelta(seconds=every_s or 10**9)
        rows = rows.filter(Q(listed_at=None) | Q(listed_at__lt=before, last_used_at__gt=F("listed_at")))
    return list(rows.order_by(F("listed_at").asc(nulls_first=True)).values_list("holder", flat=True))


def listed_holders(org_id: Any) -> frozenset[tuple[str, str]]:
    """(upstream id, holder) of whom the hub knows what their own account is offered."""
    rows = Credential.objects.for_org(org_id).exclude(listed_at=None).exclude(holder="").filter(state__in=USABLE)
    return frozenset((str(upstream), holder) for upstream, holder in rows.values_list("upstream_id", "holder"))


def _facts(
    pk: Any,
    org_id: Any,
    upstream_id: Any,
    holder: str,
    version: int,
    state: str,
    problem: str,
    place: str,
    connected_at: Any,
    expires_at: Any,
) -> CredentialFacts:
    return CredentialFacts(
        str(pk),
        str(org_id),
        str(upstream_id),
        holder,
        version,
        state,
        problem,
        place,
        connected_at.timestamp(),
        expires_at.timestamp() if expires_at else None,
    )
