"""Roles, grants and rules as parts of the configuration document."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError

from mcphub.accounts.declared.sections import BadPart, Section, Sources
from mcphub.accounts.models import Org
from mcphub.accounts.roles import RIGHTS
from policies.models import Grant, Role, Rule
from policies.selectors import BUILT_IN, held_by
from upstreams.models import Upstream


class RoleSection(Section):
    """Built-in roles are there always: only what they are granted by itself can be said of them."""

    name = "roles"
    model = Role
    fields = ("rights", "auto_grant")

    def is_kept(self, row: Any) -> bool:
        return bool(row.builtin)

    def why_not_removed(self, row: Any) -> str:
        members, keys = held_by(row)
        return f"is held by {members} members and {keys} keys; take it from them first" if members or keys else ""

    def is_said(self, row: Any) -> bool:
        return not row.builtin

    def make(self, org: Org, key: str) -> Role:
        return Role(org=org, name=key, builtin=key in RIGHTS)

    def out(self, row: Any) -> dict[str, Any]:
        usual = {spec.name: spec.auto_grant for spec in BUILT_IN}
        if row.builtin:
            return {} if row.auto_grant == usual.get(row.name) else {"auto_grant": row.auto_grant}
        return super().out(row)

    def take(self, row: Any, given: Mapping[str, Any], sources: Sources) -> None:
        if row.builtin and "rights" in given:
            raise BadPart("rights", "the rights of this role are built in")
        usual = {spec.name: spec.auto_grant for spec in BUILT_IN}
        super().take(row, {"auto_grant": usual[row.name], **given} if row.builtin else given, sources)
        row.rights = sorted(set(row.rights))


class GrantSection(Section):
    """Keys are `role/upstream`."""

    name = "grants"
    model = Grant
    fields = ("access", "tools")

    def rows(self, org: Org) -> Iterable[Any]:
        return Grant.objects.for_org(org).select_related("role", "upstream")

    def key(self, row: Any) -> str:
        return f"{row.role.name}/{row.upstream.slug}"

    def make(self, org: Org, key: str) -> Grant:
        role, _, slug = key.partition("/")
        found = Role.objects.for_org(org).filter(name=role).first()
        upstream = Upstream.objects.for_org(org).filter(slug=slug).first()
        if found is None or upstream is None:
            raise BadPart("", "write ROLE/UPSTREAM, both of this org")
        return Grant(org=org, role=found, upstream=upstream)


class RuleSection(Section):
    name = "rules"
    model = Rule
    fields = (
        "priority", "effect", "kinds", "roles", "upstreams", "tools", "risks", "applications", "condition", "reason",
        "enabled",
    )  # fmt: skip

    def check(self, row: Any) -> None:
        if not isinstance(row.priority, int) or isinstance(row.priority, bool):
            raise ValidationError({"priority": "Write a whole number."})
        super().check(row)
