"""Orgs, members, keys and roles over the API: what works, for whom, and that it is on record."""

from collections.abc import Callable
from typing import Any

import pytest

from audit.models import AuditEvent
from mcphub.accounts import services
from mcphub.accounts.models import ApiKey, Membership, Org, User
from tests.api.conftest import Api, People

ByKey = Callable[..., Api]
BySession = Callable[[str], Api]


def acts() -> set[str]:
    return set(AuditEvent.objects.filter(kind="act").values_list("method", flat=True))


@pytest.mark.requirement("X1")
def test_members_are_put_by_address(people: People, by_key: ByKey) -> None:
    owner = by_key("owner")
    status, made = owner("PUT", "/orgs/north/members/New@Example.org", {"roles": ["viewer"], "attributes": {"x": 1}})
    assert (status, made["email"], made["roles"], made["attributes"]) == (
        201,
        "new@example.org",
        ["viewer"],
        {"x": 1},
    )
    status, changed = owner("PUT", "/orgs/north/members/new@example.org", {"roles": ["member"]})
    assert (status, changed["roles"], changed["attributes"]) == (200, ["member"], {"x": 1})
    assert owner("DELETE", "/orgs/north/members/new@example.org") == (204, None)
    assert owner("GET", "/orgs/north/members/new@example.org")[0] == 404
    assert acts() >= {"user.create", "member.add", "membership.change", "member.set_roles", "member.remove"}


def test_a_refused_member_leaves_nobody_behind(by_key: ByKey) -> None:
    status, body = by_key("owner")("PUT", "/orgs/north/members/half@example.org", {"roles": ["wizard"]})
    assert (status, body["error"]["code"]) == (422, "refused")
    assert "wizard" in body["error"]["message"]
    assert not User.objects.filter(email="half@example.org").exists()


def test_the_last_owner_stays(people: People, by_session: BySession) -> None:
    status, body = by_session("owner")("DELETE", "/orgs/north/members/owner@example.org")
    assert (status, body["error"]["code"]) == (409, "last_owner")


def test_pages_by_key_hold_everybody_once(people: People, by_key: ByKey) -> None:
    owner, seen, after = by_key("owner"), [], ""
    while True:
        status, found = owner("GET", f"/orgs/north/members?limit=2&after={after}")
        assert status == 200
        seen += [item["email"] for item in found["items"]]
        after = found["next"]
        if after is None:
            break
    assert seen == [f"{name}@example.org" for name in ("member", "operator", "owner", "viewer")]


def test_a_key_is_shown_once_and_ends_by_name(by_key: ByKey, org: Org) -> None:
    owner = by_key("owner")
    status, made = owner("PUT", "/orgs/north/keys/ci", {"roles": ["member"], "upstreams": ["git*"]})
    assert (status, made["kind"], made["roles"]) == (201, "service", ["member"])
    assert made["key"].startswith("mcph_")
    status, changed = owner("PUT", "/orgs/north/keys/ci", {"roles": ["viewer"]})
    assert (status, changed["roles"], changed["upstreams"], "key" in changed) == (200, ["viewer"], [], False)
    assert owner("DELETE", "/orgs/north/keys/ci") == (204, None)
    assert owner("GET", "/orgs/north/keys/ci")[0] == 404
    assert "ci" in {item["name"] for item in owner("GET", "/orgs/north/keys?revoked=true")[1]["items"]}
    assert acts() >= {"api_key.create", "apikey.change", "api_key.revoke"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"roles": []}, None),
        ({"roles": ["wizard"]}, None),
        ({"roles": ["member"], "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"roles": ["member"], "kind": "personal"}, "kind"),
        ({"roles": ["member"], "rolse": []}, "rolse"),
        ({"roles": ["member"], "application": "a\nb"}, "application"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(by_key: ByKey, body: Any, field: str | None) -> None:
    status, answer = by_key("owner")("PUT", "/orgs/north/keys/odd", body)
    assert status == 422
    assert [item["field"] for item in answer["error"]["fields"]] == ([field] if field else [])
    assert not ApiKey.objects.filter(name="odd").exists()


def test_a_key_never_makes_its_person_a_wider_one(people: People, org: Org) -> None:
    user = people.owner
    services.set_roles(Membership.objects.get(user=user, org=org), ["owner", "viewer"])
    from django.test import Client

    narrow = services.create_key(org, "narrow", user=user, roles=["owner"]).plain
    api = Api(Client(), Authorization=f"Bearer {narrow}")
    status, made = api("PUT", "/orgs/north/keys/child", {"kind": "personal"})
    assert (status, made["roles"]) == (201, ["owner"])


@pytest.mark.requirement("X1")
@pytest.mark.parametrize(
    ("who", "reads", "changes"),
    [("owner", 200, 200), ("operator", 200, 403), ("viewer", 200, 403), ("member", 403, 403), ("stranger", 404, 404)],
)
def test_members_answer_by_role(people: People, by_session: BySession, who: str, reads: int, changes: int) -> None:
    api = by_session(who)
    path = "/orgs/north/members/member@example.org"
    assert api("GET", "/orgs/north/members")[0] == reads
    assert api("GET", path)[0] == reads
    assert api("PUT", path, {"roles": ["member"]})[0] == changes


def test_another_org_is_as_unknown_as_none(people: People, by_session: BySession) -> None:
    stranger = by_session("stranger")
    for path in ("", "/members", "/keys", "/roles", "/roles/owner"):
        assert stranger("GET", f"/orgs/north{path}") == stranger("GET", f"/orgs/nowhere{path}")
    assert stranger("PUT", "/orgs/north", {"name": "x"}) == stranger("PUT", "/orgs/nowhere", {"name": "x"})


def test_a_role_comes_changes_and_goes(by_key: ByKey, org: Org) -> None:
    owner = by_key("owner")
    status, made = owner("PUT", "/orgs/north/roles/finance", {"rights": ["read_audit"], "auto_grant": "read-only"})
    assert (status, made) == (
        201,
        {"name": "finance", "builtin": False, "rights": ["read_audit"], "auto_grant": "read-only"},
    )
    assert owner("PUT", "/orgs/north/roles/finance", {})[1]["rights"] == []
    held = by_key("finance")
    assert owner("DELETE", "/orgs/north/roles/finance")[0] == 422
    assert held("GET", "/me")[0] == 200
    assert owner("DELETE", "/orgs/north/roles/owner")[0] == 422
    assert owner("PUT", "/orgs/north/roles/Bad Name", {})[0] == 422


def test_nobody_gives_a_right_that_they_lack(by_key: ByKey, org: Org) -> None:
    operator = by_key("operator")
    assert operator("PUT", "/orgs/north/roles/sneaky", {"rights": ["manage_members"]})[0] == 403
    assert operator("PUT", "/orgs/north/roles/plain", {"rights": ["read_audit"]})[0] == 201


def test_orgs_are_made_by_hub_admins_only(people: People, by_session: BySession) -> None:
    assert by_session("hub_admin")("PUT", "/orgs/west", {"name": "West"})[0] == 201
    assert by_session("owner")("PUT", "/orgs/east", {"name": "East"})[0] == 404
    assert by_session("owner")("PUT", "/orgs/north", {"enabled": False})[0] == 403
    assert by_session("hub_admin")("PUT", "/orgs/mcp", {})[0] == 422
    assert by_session("owner")("PUT", "/orgs/north", {"name": "Northern"})[1]["name"] == "Northern"
