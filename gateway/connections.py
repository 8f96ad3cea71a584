"""What people see of accounts: every upstream that they may use, and how it stands between them and it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.conf import settings

from gateway.live import LiveTable
from gateway.router import Reach
from gateway.snapshot import load
from mcphub.accounts.models import ApiKey, Org, User
from mcphub.accounts.roles import OWNER, Right
from mcphub.accounts.selectors import person_principal, rights_by_org
from mcphub.core.principal import Principal
from upstreams.credentials.models import SHARED, Credential
from upstreams.models import CredentialKind, CredentialMode, Upstream
from upstreams.types import ClientFacts

State = Credential.State

PILLS: Final = {State.CONNECTED: "good", State.EXPIRED: "warn", State.FAILING: "bad", State.NEEDS_CONNECTION: "bad"}
WORDS: Final = {
    State.CONNECTED: "connected",
    State.EXPIRED: "to be renewed at the next use",
    State.FAILING: "refused at the last try",
    State.NEEDS_CONNECTION: "connect again",
}


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody's place at an upstream: the person's own, a service key's that they look after, or the shared one."""

    holder: str
    label: str


EVERYBODY: Final = Seat(SHARED, "everybody")


@dataclass(frozen=True, slots=True)
class Line:
    """One upstream as one holder has it; `may_connect` says whether the person at the page may change it."""

    upstream: Upstream
    seat: Seat
    credential: Credential | None
    may_connect: bool

    @property
    def wants_account(self) -> bool:
        """Whether there is anything to connect."""
        return self.upstream.credential_mode != CredentialMode.NONE

    @property
    def is_connected(self) -> bool:
        """Whether calls can go out under this account."""
        return self.credential is not None and self.credential.state != State.NEEDS_CONNECTION

    @property
    def is_shared(self) -> bool:
        """Whether everybody's calls use the same account."""
        return self.upstream.credential_mode == CredentialMode.SHARED

    @property
    def by_key(self) -> bool:
        """Whether it is connected by pasting a key, and not by signing in there."""
        return self.upstream.credential_kind == CredentialKind.API_KEY

    @property
    def pill(self) -> str:
        """The colour of its state."""
        if not self.wants_account:
            return "good"
        return PILLS[State(self.credential.state)] if self.credential else "warn"

    @property
    def words(self) -> str:
        """Its state in words."""
        if not self.wants_account:
            return "no account needed"
        return WORDS[State(self.credential.state)] if self.credential else "not connected"


@dataclass(frozen=True, slots=True)
class Part:
    """The upstreams of one org."""

    org: Org
    lines: tuple[Line, ...]


def parts_of(user: User) -> list[Part]:
    """Every upstream that the person may use, by org."""
    orgs = Org.objects.filter(memberships__user=user, enabled=True).order_by("slug")
    return [Part(org, tuple(_own_lines(user, org))) for org in orgs]


def _own_lines(user: User, org: Org) -> Iterator[Line]:
    principal, rights = person_principal(user.pk, org.pk), _rights(user, org)
    for line in lines_of(principal, rights) if principal else ():
        yield _line(rights, line.upstream, seats_of(user, line.upstream)[0])


def line_of(user: User, upstream_id: UUID, holder: str | None = None) -> Line | None:
    """One upstream as this person may look at it, or as a holder whom they may act for; None for everything else."""
    upstream = Upstream.objects.filter(pk=upstream_id, enabled=True).select_related("org").first()
    principal = person_principal(user.pk, upstream.org_id) if upstream else None
    if upstream is None or principal is None or upstream.pk not in _known_to(principal):
        return None
    seats = seats_of(user, upstream)
    seat = next((each for each in seats if holder is None or each.holder == holder), None)
    return _line(_rights(user, upstream.org), upstream, seat) if seat else None


def seats_of(user: User, upstream: Upstream) -> list[Seat]:
    """For whom the person may look at and connect this upstream; their own place is the first."""
    if upstream.credential_mode == CredentialMode.SHARED:
        return [EVERYBODY]
    return [_own_seat(user, upstream.org), *_service_seats(user, upstream.org)]


def _own_seat(user: User, org: Org) -> Seat:
    """In open mode nobody tells the hub who they are: its owners connect for all of its callers."""
    member = person_principal(user.pk, org.pk)
    if settings.START.no_auth and member is not None and OWNER in member.roles:
        return Seat("open", "everybody who reaches this hub")
    return Seat(f"user:{user.pk}", user.email)


def _rights(user: User, org: Org) -> frozenset[Right]:
    return rights_by_org(user).get(str(org.pk), frozenset())


def _service_seats(user: User, org: Org) -> Iterator[Seat]:
    if Right.MANAGE_KEYS in _rights(user, org):
        for key in ApiKey.objects.for_org(org).filter(user=None, revoked_at=None):
            yield Seat(f"key:{key.pk}", f"service key {key.name}")


def lines_of(principal: Principal, rights: frozenset[Right]) -> list[Line]:
    """Every upstream that a principal may use, as it stands between the two."""
    upstreams = Upstream.objects.for_org(principal.org).filter(pk__in=_known_to(principal)).select_related("org")
    return [_line(rights, upstream, _seat_of(principal, upstream)) for upstream in upstreams]


def _seat_of(principal: Principal, upstream: Upstream) -> Seat:
    if upstream.credential_mode == CredentialMode.SHARED:
        return EVERYBODY
    return Seat(principal.id, principal.label)


def _line(rights: frozenset[Right], upstream: Upstream, seat: Seat) -> Line:
    may = upstream.credential_mode != CredentialMode.SHARED or Right.MANAGE_UPSTREAMS in rights
    held = Credential.objects.filter(upstream=upstream, holder=seat.holder).first()
    return Line(upstream, seat, held, may)


def _known_to(principal: Principal) -> frozenset[UUID]:
    """The upstreams that policy lets a principal know of."""
    reach = Reach(load(principal.org, 0, LiveTable()), principal, ClientFacts())
    return frozenset(UUID(spec.id) for spec in reach.specs() if reach.sees(spec))
