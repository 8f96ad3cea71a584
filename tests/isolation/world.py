"""Two orgs, somebody of every kind, and a row of every model in both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.test import Client
from oauth2_provider.models import Application

from audit.models import AuditEvent
from gateway.authserver.models import Approval
from mcphub.accounts import invitations, services
from mcphub.accounts.acts import COMMAND_LINE
from mcphub.accounts.models import ApiKey, Device, Installation, Invitation, Issuer, Membership, Org, OrgQuota, User
from mcphub.core.clock import now
from policies.models import (
    ApprovalSettings,
    AttributeMapping,
    CallApproval,
    Grant,
    RateLimit,
    Replay,
    Role,
    Rule,
    Toolset,
)
from upstreams.catalogue import store_catalogue
from upstreams.models import Credential, Definition, DefinitionVersion, OAuthRegistration, Upstream

UNKNOWN: Final = "01900000-0000-7000-8000-000000000000"
NOWHERE: Final = "nowhere"


@dataclass
class World:
    """`north` is the org that everything is asked for; `south` is where the outsider is at home."""

    north: Org
    south: Org
    people: Mapping[str, User | None]
    membership: Membership
    invitation: Invitation
    key: ApiKey
    service_key: ApiKey
    device: Device
    held: CallApproval
    content_type: str
    rows: Mapping[str, models.Model]
    foreign: "World | None" = field(default=None, repr=False)

    def client(self, who: str) -> Client:
        """A browser in which that person is signed in."""
        client = Client(raise_request_exception=True)
        user = self.people[who]
        if user is not None:
            client.force_login(user)
        return client


def make() -> World:
    """The whole of it."""
    north, south = services.create_org("north", "Org north"), services.create_org("south", "Org south")
    people: dict[str, User | None] = {"anonymous": None}
    for role in ("member", "viewer", "operator", "owner"):
        people[role] = _person(north, role, role)
    people["outsider"] = _person(south, "outsider-south", "owner")
    people["stranger"] = services.create_user("stranger@example.org")
    people["invitee"] = services.create_user("invitee@example.org")
    people["hub_admin"] = services.create_user("hub-admin@example.org", hub_admin=True)
    here = _parts(north, people)
    return World(north, south, people, **here, foreign=World(south, north, people, **_parts(south, people)))


def _person(org: Org, name: str, role: str) -> User:
    user = services.create_user(f"{name}@example.org")
    services.add_member(org, user, [role])
    return user


def _parts(org: Org, people: Mapping[str, User | None]) -> dict[str, Any]:
    """A row of everything in `org`, which does not belong to whoever asks for it."""
    other = _person(org, f"somebody-{org.slug}", "member")
    holder = people["member"] if org.slug == "north" else other
    assert holder is not None
    membership = Membership.objects.get(org=org, user=other)
    return {
        "membership": membership,
        "invitation": invitations.invite(org, "invitee@example.org", ["member"], by=COMMAND_LINE).row,
        "key": services.create_key(org, f"laptop-{org.slug}", user=holder).row,
        "service_key": services.create_key(org, f"robot-{org.slug}", roles=["viewer"]).row,
        "device": Device.objects.create(user=holder, created_at=now(), seen_at=now()),
        "held": _held(org, holder),
        "content_type": str(ContentType.objects.get_for_model(Org).pk),
        "rows": {label: make_row(org, other) for label, make_row in ROWS.items()},
    }


def _upstream(org: Org, slug: str) -> Upstream:
    return Upstream.objects.create(org=org, slug=slug, name=f"Upstream {slug}", url="https://example.org/mcp")


def _definition(org: Org, _: User) -> models.Model:
    upstream = _upstream(org, f"listed-{org.slug}")
    store_catalogue(upstream.pk, "", {"tool": [{"name": f"tool-{org.slug}", "inputSchema": {"type": "object"}}]})
    return Definition.objects.get(upstream=upstream)


def _version(org: Org, _: User) -> models.Model:
    upstream = _upstream(org, f"versioned-{org.slug}")
    for words in ("first", "changed"):
        tool = {"name": f"old-{org.slug}", "description": words, "inputSchema": {"type": "object"}}
        store_catalogue(upstream.pk, "", {"tool": [tool]})
    return DefinitionVersion.objects.filter(definition__upstream=upstream).latest("pk")


def _application(org: Org, _: User) -> models.Model:
    return Application.objects.create(
        name=f"client-{org.slug}",
        client_type="public",
        authorization_grant_type="authorization-code",
        redirect_uris="http://127.0.0.1/back",
    )


def _approval(org: Org, user: User) -> models.Model:
    return Approval.objects.create(
        user=user,
        application=_application(org, user),
        org=org,
        path="/mcp",
        scope="mcp",
        redirect_host="127.0.0.1",
        redeemed_at=now(),
    )


def _held(org: Org, user: User) -> CallApproval:
    """A call of this person that waits for an answer."""
    return CallApproval.objects.create(
        org=org,
        call_id=f"call-{org.slug}",
        principal_id=f"user:{user.pk}",
        principal=user.email,
        person=user.pk,
        method="tools/call",
        kind="tool",
        upstream=f"held-{org.slug}",
        name="write",
        risk="write",
        digest="0" * 64,
        asked_at=now(),
        ends_at=now() + timedelta(hours=1),
    )


def _credential(org: Org, user: User) -> models.Model:
    """Somebody's account with an upstream that every member knows, and where each has an account of their own."""
    slug = f"account-{org.slug}"
    upstream = Upstream.objects.create(
        org=org, slug=slug, name=slug, url="https://example.org/mcp", credential_mode="per-user"
    )
    Rule.objects.create(org=org, name=f"lets-{org.slug}", priority=1, effect="allow", upstreams=[slug])
    return Credential.objects.create(
        upstream=upstream, holder=f"user:{user.pk}", connected_by=user.email, connected_at=now()
    )


def _grant(org: Org, _: User) -> models.Model:
    role = Role.objects.create(org=org, name=f"granted-{org.slug}")
    return Grant.objects.create(org=org, role=role, upstream=_upstream(org, f"granted-{org.slug}"), access="all")


ROWS: Final[Mapping[str, Callable[[Org, User], models.Model]]] = {
    "accounts.org": lambda org, _: org,
    "accounts.user": lambda _, user: user,
    "accounts.installation": lambda *_: Installation.objects.get_or_create(pk=Installation.ONLY)[0],
    "accounts.orgquota": lambda org, _: OrgQuota.objects.create(org=org, members=100),
    "accounts.invitation": lambda org, _: (
        invitations.invite(org, f"i@{org.slug}.org", ["member"], by=COMMAND_LINE).row
    ),
    "accounts.issuer": lambda org, _: Issuer.objects.create(
        org=org, name=f"issuer-{org.slug}", issuer="https://issuer.example", audiences=["hub"], roles=["member"]
    ),
    "accounts.membership": lambda org, user: Membership.objects.get(org=org, user=user),
    "accounts.apikey": lambda org, _: services.create_key(org, f"row-{org.slug}", roles=["viewer"]).row,
    "audit.auditevent": lambda org, _: AuditEvent.objects.filter(org_id=str(org.pk)).latest("id"),
    "upstreams.credential": _credential,
    "upstreams.oauthregistration": lambda org, _: OAuthRegistration.objects.create(
        org=org, domain=f"{org.slug}.example", client_id=f"client-{org.slug}"
    ),
    "upstreams.upstream": lambda org, _: _upstream(org, f"up-{org.slug}"),
    "upstreams.definition": _definition,
    "upstreams.definitionversion": _version,
    "oauth2_provider.application": _application,
    "gateway.approval": _approval,
    "policies.attributemapping": lambda org, _: AttributeMapping.objects.create(
        org=org, name=f"mapping-{org.slug}", claim="groups", values=["x"], roles=["member"]
    ),
    "policies.approvalsettings": lambda org, _: ApprovalSettings.objects.create(org=org),
    "policies.ratelimit": lambda org, _: RateLimit.objects.create(org=org, name=f"limit-{org.slug}", calls=9),
    "policies.replay": lambda org, _: Replay.objects.create(
        org=org, title=f"Replay {org.slug}", draft={}, asked_by="somebody"
    ),
    "policies.toolset": lambda org, _: Toolset.objects.create(
        org=org, slug=f"set-{org.slug}", name=f"Set {org.slug}"
    ),
    "policies.role": lambda org, _: Role.objects.create(org=org, name=f"role-{org.slug}"),
    "policies.grant": _grant,
    "policies.rule": lambda org, _: Rule.objects.create(org=org, name=f"rule-{org.slug}", effect="deny"),
}
"""A row of every model that has an admin page. A new page needs a line here; name something after the org."""
