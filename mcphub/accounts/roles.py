"""Built-in roles and the rights they carry in the hub's own pages and API (calls are policy's matter)."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mcphub.accounts import hooks


class Right(StrEnum):
    """What a person may do in one org, besides calling tools."""

    VIEW_CONFIG = "view_config"
    READ_AUDIT = "read_audit"
    MANAGE_UPSTREAMS = "manage_upstreams"
    MANAGE_POLICY = "manage_policy"
    APPROVE = "approve"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_KEYS = "manage_keys"
    MANAGE_ORG = "manage_org"


OWNER: Final = "owner"
OPERATOR: Final = "operator"
VIEWER: Final = "viewer"
MEMBER: Final = "member"

RIGHTS: Final[Mapping[str, frozenset[Right]]] = MappingProxyType(
    {
        OWNER: frozenset(Right),
        OPERATOR: frozenset(
            {Right.VIEW_CONFIG, Right.READ_AUDIT, Right.MANAGE_UPSTREAMS, Right.MANAGE_POLICY, Right.APPROVE}
        ),
        VIEWER: frozenset({Right.VIEW_CONFIG, Right.READ_AUDIT}),
        MEMBER: frozenset(),
    }
)


def rights_of(org_id: str, roles: Iterable[str]) -> frozenset[Right]:
    """The rights that `roles` carry together in an org; unknown roles and rights carry none."""
    held = frozenset(roles)
    rights = {right for role in held for right in RIGHTS.get(role, frozenset())}
    own = held - RIGHTS.keys()
    if own:
        rights |= {Right(name) for names in hooks.role_rights(org_id, own) for name in names if name in set(Right)}
    return frozenset(rights)


def role_names(org_id: str) -> frozenset[str]:
    """The names of all roles that can be given in an org."""
    return frozenset(RIGHTS).union(*hooks.known_roles(org_id))


def givable_roles(org_id: str, held: Iterable[Right]) -> frozenset[str]:
    """The roles that somebody with these rights may give: none that carries more rights than they hold."""
    rights = frozenset(held)
    return frozenset(role for role in role_names(org_id) if rights_of(org_id, [role]) <= rights)
