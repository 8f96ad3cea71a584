"""How people prove who they are: password, provider, or in development the picker. Every attempt is on record."""

from typing import Final

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth import login as start_session
from django.db import transaction
from django.http import HttpRequest
from django.http.request import split_domain_port

from audit.services import record_sign_in
from mcphub.accounts import acts, devices, services, throttle
from mcphub.accounts.acts import COMMAND_LINE
from mcphub.accounts.links import FIRST_ORG, LinkSpent, OneTimeLink, has_owner
from mcphub.accounts.models import Membership, Org, User, normal_email
from mcphub.accounts.roles import MEMBER, OWNER
from mcphub.accounts.social import entering
from mcphub.accounts.social.entering import NotLetIn
from mcphub.accounts.social.identity import Identity
from mcphub.accounts.social.providers import Provider
from mcphub.core.addresses import is_loopback
from mcphub.core.peer import is_from_here, neighbourhood, source_of
from mcphub.core.principal import OrgRef, Principal

PENDING: Final = "sign_in_pending"
MOST_PENDING: Final = 20


class Failed(Exception):
    """The proof does not hold; one answer for every reason."""


def password_offered() -> bool:
    """Whether people may sign in with passwords."""
    return "password" in settings.HUB.sign_in


def picker_offered(request: HttpRequest) -> bool:
    """Whether this request may use the development picker."""
    return "dev" in settings.HUB.sign_in and is_at_this_machine(request)


def is_at_this_machine(request: HttpRequest) -> bool:
    """Whether a standalone hub that is bound to loopback is asked from there, unforwarded.

    The Host header must name loopback too, or a page that rebinds its name to 127.0.0.1 could sign in.
    """
    hub = settings.HUB
    host = split_domain_port(request.META.get("HTTP_HOST", ""))[0]
    return (
        hub.mode == "standalone"
        and bool(hub.loopback)
        and is_from_here(request.META.get("REMOTE_ADDR") or "", map(str.lower, request.headers))
        and is_loopback(host)
    )


def by_password(request: HttpRequest, email: str, password: str) -> User:
    """Sign in with a password. Raises `Failed` or `throttle.Throttled`."""
    source = source_of(request)
    marks = throttle.begin(source, email)
    found = authenticate(request, username=normal_email(email), password=password)
    if not isinstance(found, User):
        _record_failure(email, source)
        raise Failed
    throttle.succeed(marks)
    start(request, found, "password")
    return found


def by_picker(request: HttpRequest, email: str) -> User:
    """Sign in as anybody, in development. The first person becomes owner of org `default`, later ones members.

    Raises `Failed` for a disabled person, `services.Refused` for what is no e-mail address.
    """
    with transaction.atomic():
        user = User.objects.filter(email=normal_email(email)).first() or services.create_user(email)
        if not user.is_active:
            raise Failed
        org = _first_org()
        if not has_owner(FIRST_ORG):
            _make_owner(org, user)
        elif not user.is_superuser and not user.memberships.exists():
            services.add_member(org, user, [MEMBER])
    start(request, user, "dev")
    return user


def by_link(request: HttpRequest, link: OneTimeLink, email: str, password: str) -> User:
    """Set the password that a one-time link allows, and sign in. `email` counts for a set-up link only.

    Raises `services.Refused` for a bad address, `LinkSpent` when somebody else used it a moment ago.
    """
    with transaction.atomic():
        user = _unchanged(link.user) if link.user else _first_owner(email)
        if link.mailed:
            services.prove_email(user, by=acts.person(user, source_of(request)))
        _set_password(request, user, password)
    start(request, user, link.kind)
    return user


def begin_with_provider(request: HttpRequest, provider: Provider) -> None:
    """Somebody goes to a provider: counted until they come back well. Raises `throttle.Throttled`."""
    source = source_of(request)
    marks = throttle.begin(source, f"{provider.name} from {neighbourhood(source)}")
    request.session[PENDING] = [*request.session.get(PENDING, [])[-MOST_PENDING:], *marks]
    entering.forget_stale()


def by_provider(request: HttpRequest, identity: Identity, setup: bool) -> User:
    """Let in whomever a provider vouches for. Raises `NotLetIn`.

    The first person of a hub becomes its owner at the machine itself, or with a set-up link (`setup`).
    """
    try:
        user = entering.person_behind(identity)
    except NotLetIn as refusal:
        if refusal.code != entering.STRANGER or not identity.verified or not (setup or is_at_this_machine(request)):
            raise
        user = _founder(identity, refusal)
    throttle.succeed(request.session.pop(PENDING, []))
    start(request, user, identity.provider)
    return user


def _founder(identity: Identity, refusal: NotLetIn) -> User:
    with transaction.atomic():
        try:
            user = _first_owner(identity.email)
        except (LinkSpent, services.Refused):
            raise refusal from None
        return entering.person_behind(identity) if user.is_active else user


def record_provider_failure(request: HttpRequest, provider: Provider, cause: str) -> None:
    """Put on record why a provider's word opened nothing."""
    record_sign_in(principal="unknown", method=provider.name, ok=False, reason=cause, source=source_of(request))


def change_password(request: HttpRequest, user: User, old: str, new: str) -> None:
    """Replace a signed-in person's password; other sessions of theirs end. Raises `Failed`, `throttle.Throttled`."""
    source = source_of(request)
    marks = throttle.begin(source, user.email)
    if not user.check_password(old):
        raise Failed
    throttle.succeed(marks)
    with transaction.atomic():
        _set_password(request, user, new)
    start_session(request, user)


def _set_password(request: HttpRequest, user: User, password: str) -> None:
    """Store it; whoever was signed in with the one before is signed out."""
    user.set_password(password)
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    devices.end_all(user)
    acts.record(acts.person(user, source_of(request)), None, "user.set_password", user.email)


def _unchanged(user: User) -> User:
    found: User | None = User.objects.select_for_update().filter(pk=user.pk, password=user.password).first()
    if found is None:
        raise LinkSpent
    return found


def _first_org() -> Org:
    org = Org.objects.select_for_update().filter(slug=FIRST_ORG).first()
    return org or services.create_org(FIRST_ORG, "Default")


def _first_owner(email: str) -> User:
    org = _first_org()
    if has_owner(FIRST_ORG):
        raise LinkSpent
    user = User.objects.filter(email=normal_email(email)).first() or services.create_user(email)
    _make_owner(org, user)
    return user


def _make_owner(org: Org, user: User) -> None:
    member = Membership.objects.for_org(org).filter(user=user).first()
    if member is None:
        services.add_member(org, user, [OWNER], by=COMMAND_LINE)
    else:
        services.set_roles(member, {*member.roles, OWNER}, by=COMMAND_LINE)


def start(request: HttpRequest, user: User, way: str) -> None:
    """Sign in somebody who has proven who they are, by `way`; on record in each of their orgs."""
    start_session(request, user)
    members = user.memberships.select_related("org")
    places = [(OrgRef(str(item.org_id), item.org.slug), frozenset(item.roles)) for item in members]
    for org, roles in places or [(OrgRef("", ""), frozenset())]:
        who = Principal(f"user:{user.pk}", "person", user.email, org, roles, user_id=str(user.pk))
        record_sign_in(principal=who, method=way, ok=True, org_id=org.id, org=org.slug, source=source_of(request))


def _record_failure(email: str, source: str) -> None:
    """The typed text is recorded only when it is a known address: people type passwords into the wrong field."""
    user = User.objects.filter(email=normal_email(email)).first()
    reason = "wrong password" if user else "unknown e-mail"
    member = user.memberships.select_related("org").first() if user else None
    record_sign_in(
        principal=user.email if user else "unknown",
        method="password",
        ok=False,
        org_id=str(member.org_id) if member else "",
        org=member.org.slug if member else "",
        reason=reason,
        source=source,
    )
