"""Who each URL of the hub is for. A URL that is missing here fails `test_urls.py`: add a line, that is all.

A line says for whom the page exists, in org `north` of the test's world. For everybody else the sweep demands the
answer that an id gets which nobody has. `HOLDERS[Right.X]` are the people of north whose roles carry the right.
An id that belongs to one person is filled in from the world (`PARAMETERS`); its audience is that person.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcphub.accounts.roles import RIGHTS, Right
from tests.isolation.world import NOWHERE, UNKNOWN, World
from upstreams.models import Credential

ORG: Final = ("member", "viewer", "operator", "owner")
PEOPLE: Final = ("anonymous", "stranger", "outsider", "invitee", *ORG, "hub_admin")
"""stranger: signed in, in no org. outsider: owner of another org. invitee: invited into north."""

Audience = frozenset[str]

NOBODY: Final = Audience()
EVERYBODY: Final = Audience(PEOPLE)
SIGNED_IN: Final = EVERYBODY - {"anonymous"}
MEMBERS: Final = Audience(ORG)
INSIDE: Final = MEMBERS | {"hub_admin"}
HUB_ADMIN: Final = Audience({"hub_admin"})
HOLDERS: Final[Mapping[Right, Audience]] = {
    right: Audience({"hub_admin", *(role for role in ORG if right in RIGHTS[role])}) for right in Right
}
IN_ADMIN: Final = Audience({"outsider", "viewer", "operator", "owner", "hub_admin"})
"""Who holds some right in some org."""


@dataclass(frozen=True)
class Pages:
    """The admin pages of one model: who sees its rows, and who may add, change and delete them."""

    see: Audience
    add: Audience = NOBODY
    change: Audience = NOBODY
    delete: Audience = NOBODY


def rows_of(right: Right) -> Pages:
    """Rows that viewers see, and holders of the right make, change and delete."""
    return Pages(HOLDERS[Right.VIEW_CONFIG], HOLDERS[right], HOLDERS[right], HOLDERS[right])


URLS: Final[Mapping[str, Audience]] = {
    "": SIGNED_IN,
    "join/": SIGNED_IN,
    "join/<slug:org>/": Audience({"invitee"}),
    "join/<slug:org>/<str:token>/": EVERYBODY,
    "orgs/new/": SIGNED_IN,
    "orgs/free/": SIGNED_IN,
    "org/<slug:org>/": INSIDE,
    "org/<slug:org>/delete/": HOLDERS[Right.MANAGE_ORG],
    "org/<slug:org>/leave/": MEMBERS,
    "org/<slug:org>/approvals/": HOLDERS[Right.APPROVE],
    "org/<slug:org>/approvals/<uuid:approval>/": HOLDERS[Right.APPROVE] | {"member"},
    "org/<slug:org>/approvals/<uuid:approval>/answer/": HOLDERS[Right.APPROVE],
    "org/<slug:org>/approvals/<uuid:approval>/revoke/": HOLDERS[Right.APPROVE],
    "org/<slug:org>/members/": HOLDERS[Right.VIEW_CONFIG],
    "org/<slug:org>/members/<uuid:member>/": HOLDERS[Right.MANAGE_MEMBERS],
    "org/<slug:org>/members/<uuid:member>/remove/": HOLDERS[Right.MANAGE_MEMBERS],
    "org/<slug:org>/invitations/": HOLDERS[Right.MANAGE_MEMBERS],
    "org/<slug:org>/invitations/<uuid:invitation>/renew/": HOLDERS[Right.MANAGE_MEMBERS],
    "org/<slug:org>/invitations/<uuid:invitation>/withdraw/": HOLDERS[Right.MANAGE_MEMBERS],
    "org/<slug:org>/keys/": INSIDE,
    "org/<slug:org>/keys/<uuid:key>/revoke/": Audience({"member"}),
    "org/<slug:org>/keys/<uuid:key>/rotate/": Audience({"member"}),
    "org/<slug:org>/service-keys/": HOLDERS[Right.MANAGE_KEYS],
    "org/<slug:org>/service-keys/<uuid:key>/revoke/": HOLDERS[Right.MANAGE_KEYS],
    "org/<slug:org>/service-keys/<uuid:key>/rotate/": HOLDERS[Right.MANAGE_KEYS],
    "devices/": SIGNED_IN,
    "devices/others/end/": SIGNED_IN,
    "devices/<uuid:device>/end/": Audience({"member"}),
    "sign-in/": EVERYBODY,
    "sign-in/forgotten/": NOBODY,  # without mail
    "sign-out/": EVERYBODY,
    "set-password/": SIGNED_IN,
    "set-password/<str:token>/": NOBODY,  # without a link that the hub made
    "admin/": IN_ADMIN,
    "admin/search/": IN_ADMIN,
    "admin/password_change/": IN_ADMIN,
    "admin/password_change/done/": IN_ADMIN,
    "admin/autocomplete/": NOBODY,
    "admin/jsi18n/": IN_ADMIN,
    "admin/r/<path:content_type_id>/<path:object_id>/": NOBODY,
    "admin/<app_label>/": IN_ADMIN,
    "admin/<url>": NOBODY,
    "admin/upstreams/upstream/<uuid:pk>/ask/<str:what>/": HOLDERS[Right.MANAGE_UPSTREAMS],
    "admin/upstreams/upstream/import-servers/": HOLDERS[Right.MANAGE_UPSTREAMS] | {"outsider"},
    "admin/upstreams/definition/<path:object_id>/preview/": HOLDERS[Right.MANAGE_UPSTREAMS],
    "admin/policies/rule/preview/": NOBODY,  # without a form that names an org
    "api/": NOBODY,
    "api/v1/": NOBODY,
    "api/v1/openapi.json": EVERYBODY,
    "api/v1/docs": EVERYBODY,
    "api/v1/me": SIGNED_IN,
    "api/v1/orgs": SIGNED_IN,
    "api/v1/orgs/<org>": INSIDE,
    "api/v1/orgs/<org>/members": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/members/<email>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/keys": HOLDERS[Right.MANAGE_KEYS],
    "api/v1/orgs/<org>/keys/<name>": HOLDERS[Right.MANAGE_KEYS],
    "api/v1/orgs/<org>/roles": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/roles/<name>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/attribute-mappings": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/attribute-mappings/preview": NOBODY,  # without claims to look at
    "api/v1/orgs/<org>/attribute-mappings/<name>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/issuers": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/issuers/<name>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/upstreams": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/upstreams/<slug>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/upstreams/<slug>/start": HOLDERS[Right.MANAGE_UPSTREAMS],
    "api/v1/orgs/<org>/upstreams/<slug>/stop": HOLDERS[Right.MANAGE_UPSTREAMS],
    "api/v1/orgs/<org>/upstreams/<slug>/logs": HOLDERS[Right.MANAGE_UPSTREAMS],
    "api/v1/orgs/<org>/upstreams/<slug>/tools": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/upstreams/<slug>/tools/<path:name>": NOBODY,  # without a change to make
    "api/v1/orgs/<org>/upstreams/<slug>/<what>": HOLDERS[Right.MANAGE_UPSTREAMS],
    "api/v1/orgs/<org>/rules": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/rules/<name>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/grants": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/grants/<role>/<upstream>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/replays": HOLDERS[Right.READ_AUDIT],
    "api/v1/orgs/<org>/replays/<replay>": HOLDERS[Right.READ_AUDIT],
    "api/v1/orgs/<org>/rate-limits": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/rate-limits/<name>": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/approvals": HOLDERS[Right.APPROVE],
    "api/v1/orgs/<org>/approvals/<approval>": HOLDERS[Right.APPROVE],
    "api/v1/orgs/<org>/approvals/<approval>/approve": NOBODY,  # without an answer
    "api/v1/orgs/<org>/approvals/<approval>/deny": NOBODY,  # without an answer
    "api/v1/orgs/<org>/approval-settings": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/explain": NOBODY,  # without a call to explain
    "why/<str:call_id>/": NOBODY,  # without a call
    "admin/policies/rule/replay/": NOBODY,  # without a form that names an org
    "admin/policies/rule/explain/": HOLDERS[Right.VIEW_CONFIG] | {"outsider"},
    "admin/policies/attributemapping/preview/": NOBODY,  # without a form that names an org
    "oauth/applications/": SIGNED_IN,
    "oauth/applications/<uuid:approval_id>/end/": NOBODY,  # without the person's own approval
    "client-metadata.json": NOBODY,  # until the hub has a public https address
    "api/v1/orgs/<org>/connections": INSIDE,
    "api/v1/orgs/<org>/connections/<upstream>/link": MEMBERS,
    "api/v1/orgs/<org>/connections/<upstream>": NOBODY,  # without a key to paste, or an account of one's own
    "api/v1/orgs/<org>/credentials": HOLDERS[Right.VIEW_CONFIG],
    "api/v1/orgs/<org>/credentials/<id>": HOLDERS[Right.MANAGE_UPSTREAMS],
    "connect/": SIGNED_IN,
    "connect/link/<str:token>/": NOBODY,  # without a link that the hub made
    "connect/<uuid:upstream_id>/": MEMBERS,
    "connect/<uuid:upstream_id>/key/": MEMBERS,
    "connect/<uuid:upstream_id>/disconnect/": MEMBERS,
    "connect/begin/<uuid:upstream>/": NOBODY,  # without a form that names whose account
    "connect/callback": SIGNED_IN,
}

BY_PROTOCOL: Final = frozenset(
    {
        "admin/login/",
        "admin/logout/",
        "auth/start/<slug:name>/",
        "auth/complete/<slug:name>/",
        "oauth/authorize",
        "oauth/token",
        "oauth/revoke",
        "oauth/register",
        ".well-known/oauth-authorization-server",
        ".well-known/oauth-authorization-server/<path:tail>",
        ".well-known/openid-configuration",
        ".well-known/openid-configuration/<path:tail>",
        ".well-known/oauth-protected-resource",
        ".well-known/oauth-protected-resource/<path:tail>",
        ".well-known/mcphub/keys.json",
    }
)
"""Asked by programs that prove themselves as a protocol says, or by people on their way in; they hold no row's id.

`test_endpoints.py` asks those of them that name an endpoint, over a real hub.
"""

OF_NO_ORG: Final = frozenset({"accounts.installation", "oauth2_provider.application"})
"""Rows of the installation: that they are there is nobody's secret."""

ADMIN: Final[Mapping[str, Pages]] = {
    "accounts.org": Pages(HOLDERS[Right.VIEW_CONFIG], HUB_ADMIN, HOLDERS[Right.MANAGE_ORG], HUB_ADMIN),
    "accounts.user": Pages(HUB_ADMIN, HUB_ADMIN, HUB_ADMIN),
    "accounts.installation": Pages(HUB_ADMIN, change=HUB_ADMIN),
    "accounts.orgquota": Pages(HOLDERS[Right.MANAGE_ORG], HUB_ADMIN, HUB_ADMIN, HUB_ADMIN),
    "accounts.invitation": Pages(HOLDERS[Right.MANAGE_MEMBERS]),
    "accounts.issuer": rows_of(Right.MANAGE_MEMBERS),
    "accounts.membership": rows_of(Right.MANAGE_MEMBERS),
    "accounts.apikey": Pages(HOLDERS[Right.VIEW_CONFIG], HOLDERS[Right.MANAGE_KEYS], HOLDERS[Right.MANAGE_KEYS]),
    "audit.auditevent": Pages(HOLDERS[Right.READ_AUDIT]),
    "upstreams.credential": Pages(HOLDERS[Right.VIEW_CONFIG]),
    "upstreams.oauthregistration": rows_of(Right.MANAGE_UPSTREAMS),
    "upstreams.upstream": rows_of(Right.MANAGE_UPSTREAMS),
    "upstreams.definition": Pages(HOLDERS[Right.VIEW_CONFIG], change=HOLDERS[Right.MANAGE_UPSTREAMS]),
    "upstreams.definitionversion": Pages(HOLDERS[Right.VIEW_CONFIG], change=HOLDERS[Right.MANAGE_UPSTREAMS]),
    "oauth2_provider.application": Pages(HUB_ADMIN, HUB_ADMIN, HUB_ADMIN, HUB_ADMIN),
    "gateway.approval": Pages(HOLDERS[Right.VIEW_CONFIG]),
    "policies.attributemapping": rows_of(Right.MANAGE_MEMBERS),
    "policies.replay": Pages(HOLDERS[Right.READ_AUDIT], delete=HOLDERS[Right.MANAGE_POLICY]),
    "policies.toolset": rows_of(Right.MANAGE_POLICY),
    "policies.approvalsettings": rows_of(Right.MANAGE_POLICY),
    "policies.ratelimit": rows_of(Right.MANAGE_POLICY),
    "policies.role": rows_of(Right.MANAGE_POLICY),
    "policies.grant": rows_of(Right.MANAGE_POLICY),
    "policies.rule": rows_of(Right.MANAGE_POLICY),
}


def account(world: World) -> Credential:
    """Somebody's account with an upstream where everybody has their own."""
    row = world.rows["upstreams.credential"]
    assert isinstance(row, Credential)
    return row


PARAMETERS: Final[Mapping[str, tuple[Callable[[World], Any], str]]] = {
    "org": (lambda world: world.north.slug, NOWHERE),
    "member": (lambda world: world.membership.pk, UNKNOWN),
    "invitation": (lambda world: world.invitation.pk, UNKNOWN),
    "key": (lambda world: world.key.pk, UNKNOWN),
    "service-keys/key": (lambda world: world.service_key.pk, UNKNOWN),
    "upstream": (lambda world: world.rows["upstreams.upstream"].pk, UNKNOWN),
    "email": (lambda world: world.membership.user.email, "nobody@example.org"),
    "keys/name": (lambda world: world.service_key.name, "no-key"),
    "attribute-mappings/name": (lambda world: world.rows["policies.attributemapping"].name, "no-mapping"),
    "issuers/name": (lambda world: world.rows["accounts.issuer"].name, "no-issuer"),
    "upstreams/slug": (lambda world: world.rows["upstreams.upstream"].slug, "no-upstream"),
    "tools/name": (lambda world: "a-tool", "a-tool"),
    "replay": (lambda world: world.rows["policies.replay"].pk, UNKNOWN),
    "rate-limits/name": (lambda world: world.rows["policies.ratelimit"].name, "no-limit"),
    "rules/name": (lambda world: world.rows["policies.rule"].name, "no-rule"),
    "grants/role": (lambda world: world.rows["policies.grant"].role.name, "no-role"),
    "grants/upstream": (lambda world: world.rows["policies.grant"].upstream.slug, "no-upstream"),
    "call_id": (lambda world: "0" * 32, "1" * 32),
    "roles/name": (lambda world: world.rows["policies.role"].name, "no-role"),
    "connections/upstream": (lambda world: account(world).upstream.slug, "no-upstream"),
    "upstream_id": (lambda world: account(world).upstream.pk, UNKNOWN),
    "credentials/id": (lambda world: account(world).pk, UNKNOWN),
    "definition/object_id": (lambda world: world.rows["upstreams.definition"].pk, UNKNOWN),
    "approval": (lambda world: world.held.pk, UNKNOWN),
    "approval_id": (lambda world: world.rows["gateway.approval"].pk, UNKNOWN),
    "device": (lambda world: world.device.pk, UNKNOWN),
    "token": (lambda world: "x" * 20, "y" * 20),
    "pk": (lambda world: world.rows["upstreams.upstream"].pk, UNKNOWN),
    "what": (lambda world: "refresh", "refresh"),
    "app_label": (lambda world: "accounts", "accounts"),
    "content_type_id": (lambda world: world.content_type, ""),
    "object_id": (lambda world: world.north.pk, UNKNOWN),
    "url": (lambda world: "nothing-here", "nothing-here"),
}
"""What stands in a path: the id in north, and one that nobody has ("": the same, it is no id of an org).

`a/b` is `b` below a segment `a`.
"""
